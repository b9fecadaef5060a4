//! Access keys: who may speak S3.

use std::collections::HashMap;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use mainstay_dataplane::{ContentKey, KeyId};
use mainstay_storage::{Statement, Store};
use mainstay_types::{InstanceId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::directory::parsed;
use crate::error::IndexError;
use crate::keys::KeysError;
use crate::stored::{self, StoredAccessKey};

/// A name that an access key goes by: 3 to 128 letters, digits and `-_.`; unique in the object store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(std::sync::Arc<str>);

/// Text that cannot name an access key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an access key's id is 3 to 128 letters, digits, `-`, `_` and `.`")]
pub struct InvalidAccessKeyId;

/// An access key.
#[derive(Debug, Clone)]
pub struct AccessKey {
    pub id: AccessKeyId,
    /// The instance whose buckets it opens.
    pub account: InstanceId,
    /// Until when; for ever where there is no end.
    pub valid_until: Option<Timestamp>,
}

/// An access key with what proves it.
#[derive(Debug, Clone)] // Cloned for each request: a signature needs the secret, and the map keeps its own.
pub struct KnownKey {
    pub key: AccessKey,
    pub secret: SecretString,
}

/// An access key in memory, with its secret once it was asked for.
#[derive(Clone)]
pub(crate) struct HeldKey {
    pub stored: StoredAccessKey,
    pub secret: Option<SecretString>,
}

/// What the key that seals access keys is derived for (BLAKE3's key derivation).
const PURPOSE: &str = "mainstay 2026-11-21 secrets of access keys in the index of objects";

const NONCE_LENGTH: usize = 24;

// === impl AccessKeyId ===

impl AccessKeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AccessKeyId {
    type Err = InvalidAccessKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (3..=128).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidAccessKeyId)
        }
    }
}

impl std::fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for AccessKeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl HeldKey ===

impl HeldKey {
    /// Seals a secret, bound to the id that it belongs to.
    pub fn seal(key: &AccessKey, secret: &SecretString, with: &ContentKey) -> Result<Self, KeysError> {
        let mut nonce = vec![0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|error| KeysError::Unavailable { reason: error.to_string() })?;
        let mut sealed = Zeroizing::new(secret.expose_secret().as_bytes().to_vec());
        cipher(with)
            .encrypt_in_place(&place(&nonce), key.id.as_str().as_bytes(), &mut *sealed)
            .map_err(|_| KeysError::DoesNotOpen(with.id))?;
        let stored = StoredAccessKey {
            account: key.account.clone(),
            valid_until: key.valid_until,
            key: with.id.0,
            nonce,
            sealed: sealed.to_vec(),
        };
        Ok(Self { stored, secret: Some(secret.clone()) })
    }

    /// The secret of a key that was sealed.
    pub fn open(&self, id: &AccessKeyId, with: &ContentKey) -> Result<SecretString, KeysError> {
        let broken = || KeysError::DoesNotOpen(with.id);
        if self.stored.nonce.len() != NONCE_LENGTH {
            return Err(broken());
        }
        let mut secret = Zeroizing::new(self.stored.sealed.clone());
        let nonce = place(&self.stored.nonce);
        cipher(with).decrypt_in_place(&nonce, id.as_str().as_bytes(), &mut *secret).map_err(|_| broken())?;
        std::str::from_utf8(&secret).map(SecretString::from).map_err(|_| broken())
    }

    pub fn key_id(&self) -> KeyId {
        KeyId(self.stored.key)
    }

    pub fn access_key(&self, id: &AccessKeyId) -> AccessKey {
        AccessKey { id: id.clone(), account: self.stored.account.clone(), valid_until: self.stored.valid_until }
    }

    /// Reads all access keys; their secrets stay sealed.
    pub async fn load(store: &Store) -> Result<HashMap<AccessKeyId, Self>, IndexError> {
        let rows = store.read(Statement::new("SELECT id, record FROM access_keys", [])).await?;
        let key = |row: &mainstay_storage::Row| -> Result<_, IndexError> {
            Ok((parsed(row.text(0)?)?, Self { stored: stored::decode(row.blob(1)?)?, secret: None }))
        };
        rows.iter().map(key).collect()
    }
}

fn cipher(key: &ContentKey) -> XChaCha20Poly1305 {
    let derived = Zeroizing::new(blake3::derive_key(PURPOSE, key.secret()));
    XChaCha20Poly1305::new((&*derived).into())
}

fn place(nonce: &[u8]) -> XNonce {
    let mut bytes = [0; NONCE_LENGTH];
    bytes.copy_from_slice(nonce);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::{ContentKey, KeyId};
    use mainstay_types::InstanceId;
    use secrecy::{ExposeSecret, SecretString};
    use zeroize::Zeroizing;

    use super::{AccessKey, HeldKey};

    #[test]
    fn a_secret_opens_with_its_key_and_its_id_alone() {
        let key = |id: u32, byte| ContentKey::new(KeyId(id), Zeroizing::new([byte; 32]));
        let account = InstanceId::from_random(1);
        let access = AccessKey { id: "shop-1".parse().unwrap(), account, valid_until: None };
        let secret = SecretString::from("correct horse battery staple");
        let held = HeldKey::seal(&access, &secret, &key(7, 1)).unwrap();
        assert_eq!(held.key_id(), KeyId(7));
        let opened = held.open(&access.id, &key(7, 1)).unwrap();
        assert_eq!(opened.expose_secret(), secret.expose_secret());
        assert!(held.open(&access.id, &key(7, 2)).is_err());
        assert!(held.open(&"shop-2".parse().unwrap(), &key(7, 1)).is_err());
        assert!(!held.stored.sealed.windows(5).any(|part| part == b"horse"));
    }
}
