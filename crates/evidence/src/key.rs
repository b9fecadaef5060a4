//! Keys of Ed25519, and how they are told apart.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use pem::{EncodeConfig, LineEnding, Pem};
use serde::{Deserialize, Serialize};

/// What the public key stands behind in a SubjectPublicKeyInfo (RFC 8410, section 4): it is the same for every key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What a public key is called in PEM (RFC 7468, section 13).
const PEM_TAG: &str = "PUBLIC KEY";

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

/// A key that verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What a public key is called: the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no public key of Ed25519 in PEM")]
pub struct UnreadableKey;

// === impl SigningKey ===

impl SigningKey {
    /// The key that comes of a seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed"))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("a public key of Ed25519 has 32 bytes"))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

// === impl PublicKey ===

impl PublicKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn id(&self) -> KeyId {
        KeyId(hexadecimal(digest::digest(&digest::SHA256, &self.spki()).as_ref()))
    }

    /// The key as files have it, and openssl reads it.
    pub fn to_pem(&self) -> String {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        pem::encode_config(&Pem::new(PEM_TAG, self.spki()), config)
    }

    pub fn from_pem(text: &str) -> Result<Self, UnreadableKey> {
        let read = pem::parse(text).ok().filter(|read| read.tag() == PEM_TAG).ok_or(UnreadableKey)?;
        let key = read.contents().strip_prefix(&SPKI_PREFIX).ok_or(UnreadableKey)?;
        Ok(Self(key.try_into().map_err(|_| UnreadableKey)?))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

// === impl KeyId ===

impl KeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
