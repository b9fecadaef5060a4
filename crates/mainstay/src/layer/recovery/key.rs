//! The recovery key, kept in secret custody.

use mainstay_custody::{Custody, RecordError, SecretPath};
use mainstay_repository::RecoveryKey;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// Where the secret is in custody that the key is derived from. The number goes up with another way of deriving it.
const PATH: &str = "recovery-key/1";
/// Tells the key from whatever else may be derived from the same secret one day.
const CONTEXT: &str = "mainstay 2026-11 recovery key";

/// The key, which is drawn when it is first asked for, and the same ever after.
#[derive(Clone)]
pub(crate) struct LayerRecoveryKey {
    custody: Custody,
}

// === impl LayerRecoveryKey ===

impl LayerRecoveryKey {
    pub fn new(custody: Custody) -> Self {
        Self { custody }
    }

    pub async fn read(&self) -> Result<RecoveryKey, RecordError> {
        let path: SecretPath = PATH.parse().expect("the path is valid");
        let secret = self.custody.generate(&path).await?;
        let bytes = Zeroizing::new(blake3::derive_key(CONTEXT, secret.expose_secret().as_bytes()));
        Ok(RecoveryKey::from_bytes(&bytes))
    }
}
