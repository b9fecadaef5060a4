//! What is stored of a key.
//!
//! `policy/NAME` holds the settings and the versions in use, `archive/NAME` the versions below the lowest one that may
//! still decrypt: they are kept, since that bound may be lowered again, but need not be read and decoded each time.

use std::collections::BTreeMap;
use std::fmt;

use mainstay_types::Timestamp;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::key_type::KeyType;
use crate::wire;

/// The version of the stored format. Raise it with a migration and a sample of the version before.
pub const FORMAT: u32 = 1;

/// A key as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub format: u32,
    pub settings: Settings,
    /// From the lowest version that may decrypt to the latest, without a gap.
    pub versions: Versions,
}

/// The versions of a key that are not in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Archive {
    pub format: u32,
    pub versions: Versions,
}

pub type Versions = BTreeMap<u32, StoredVersion>;

/// What is not secret about a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    #[serde(rename = "type")]
    pub key_type: KeyType,
    pub derived: bool,
    pub convergent: bool,
    pub exportable: bool,
    pub allow_plaintext_backup: bool,
    pub deletion_allowed: bool,
    pub latest_version: u32,
    pub min_decryption_version: u32,
    /// 0 means that only the latest version encrypts by default, and any in use may be asked for.
    pub min_encryption_version: u32,
    /// Versions before this one are gone for ever; 0 means that none is.
    pub min_available_version: u32,
    /// 0 means never.
    pub auto_rotate_seconds: u64,
    /// Bytes of an HMAC key; 0 for all other types.
    pub key_size: u32,
    pub backup: Option<Mark>,
    pub restore: Option<Mark>,
}

/// When something was done, and up to which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub time: Timestamp,
    pub version: u32,
}

/// One version of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredVersion {
    pub created: Timestamp,
    /// The raw key; for Ed25519 the seed and the public key, as Vault has it; PKCS#8 for ECDSA and RSA.
    pub key: Secret,
    /// What MACs are made with; an HMAC key has only itself.
    pub hmac_key: Secret,
}

/// Secret bytes; base64 where they are stored.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Settings {
    /// The first settings of a key of a type.
    pub fn new(key_type: KeyType) -> Self {
        Self {
            key_type,
            derived: false,
            convergent: false,
            exportable: false,
            allow_plaintext_backup: false,
            deletion_allowed: false,
            latest_version: 0,
            min_decryption_version: 1,
            min_encryption_version: 0,
            min_available_version: 0,
            auto_rotate_seconds: 0,
            key_size: 0,
            backup: None,
            restore: None,
        }
    }
}

impl Archive {
    /// An archive with nothing in it.
    pub fn new() -> Self {
        Self { format: FORMAT, versions: Versions::new() }
    }
}

impl Entry {
    /// A key with its first version.
    pub fn new(settings: Settings, first: StoredVersion) -> Self {
        let mut entry = Self { format: FORMAT, settings, versions: Versions::new() };
        entry.add(first);
        entry
    }

    /// Adds a version, which is the latest from now on.
    pub fn add(&mut self, version: StoredVersion) {
        self.settings.latest_version += 1;
        self.versions.insert(self.settings.latest_version, version);
    }

    /// Puts every version where its number says: into use, into the archive, or away for ever.
    pub fn arrange(&mut self, archive: &mut Archive) {
        archive.versions.append(&mut self.versions);
        self.versions = archive.versions.split_off(&self.settings.min_decryption_version);
        archive.versions = archive.versions.split_off(&self.settings.min_available_version);
    }

    /// Whether versions are where they have to be. What a damaged or foreign backup says might not be.
    pub fn is_sound(&self) -> bool {
        let settings = &self.settings;
        let first = settings.min_decryption_version;
        let expected = (settings.latest_version as usize + 1).checked_sub(first as usize);
        first >= 1
            && first <= settings.latest_version
            && settings.min_available_version <= first
            && settings.min_encryption_version <= settings.latest_version
            && expected == Some(self.versions.len())
            && self.versions.keys().zip(first..).all(|(version, expected)| *version == expected)
    }
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = wire::encode(&self.0);
        let written = serializer.serialize_str(&text);
        text.zeroize();
        written
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("secret bytes in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                wire::decode(text).map(Secret::new).map_err(|_| E::custom("secret bytes are not base64"))
            }

            /// Vault writes bytes that there are none of as `null`.
            fn visit_unit<E: Error>(self) -> Result<Secret, E> {
                Ok(Secret::new(Vec::new()))
            }
        }

        deserializer.deserialize_any(Base64)
    }
}
