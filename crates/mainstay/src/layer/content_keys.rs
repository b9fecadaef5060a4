//! The keys that content is encrypted with at rest, kept in secret custody.

use async_trait::async_trait;
use mainstay_custody::{Below, Custody, SecretPath};
use mainstay_dataplane::{ContentKey, KeyId};
use mainstay_objects::{Keys, KeysError};
use mainstay_types::chain;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// Where they are in custody, each under its number.
const FOLDER: &str = "content-key";
/// The first key's number.
const FIRST: KeyId = KeyId(1);
/// Tells a content key from whatever else may be derived from the same secret one day.
const CONTEXT: &str = "mainstay 2026-11 content key";

pub(super) struct CustodyKeys {
    custody: Custody,
}

// === impl CustodyKeys ===

impl CustodyKeys {
    pub(super) fn new(custody: Custody) -> Self {
        Self { custody }
    }

    /// The highest number there is. Whoever wants content under a new key makes the next one.
    async fn newest_id(&self) -> Result<KeyId, KeysError> {
        let below = Below::Path(FOLDER.parse().expect("the folder is a valid path"));
        let paths = self.custody.list(&below, None).await.map_err(|error| unavailable(&error))?;
        let number = |path: &SecretPath| path.as_str().rsplit('/').next()?.parse().ok().map(KeyId);
        Ok(paths.iter().filter_map(number).max().unwrap_or(FIRST))
    }
}

#[async_trait]
impl Keys for CustodyKeys {
    async fn newest(&self) -> Result<ContentKey, KeysError> {
        let id = self.newest_id().await?;
        let secret = self.custody.generate(&path(id)).await.map_err(|error| unavailable(&error))?;
        Ok(key(id, secret.expose_secret()))
    }

    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError> {
        let secret = self.custody.get(&path(id)).await.map_err(|error| unavailable(&error))?;
        secret.map(|secret| key(id, secret.expose_secret())).ok_or(KeysError::Unknown(id))
    }

    fn at_hand(&self) -> Result<(), KeysError> {
        if self.custody.is_sealed() {
            Err(KeysError::Unavailable { reason: "custody is sealed".to_owned() })
        } else {
            Ok(())
        }
    }
}

fn path(id: KeyId) -> SecretPath {
    format!("{FOLDER}/{}", id.0).parse().expect("a number makes a valid path")
}

fn key(id: KeyId, secret: &str) -> ContentKey {
    ContentKey::new(id, Zeroizing::new(blake3::derive_key(CONTEXT, secret.as_bytes())))
}

fn unavailable(error: &dyn std::error::Error) -> KeysError {
    KeysError::Unavailable { reason: chain(error) }
}
