//! Keys that content and access keys are sealed with. Whoever composes the layer keeps them.

use async_trait::async_trait;
use mainstay_dataplane::{ContentKey, KeyId};

/// Keeps the keys of the object store.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The key that new content is encrypted with.
    async fn newest(&self) -> Result<ContentKey, KeysError>;

    /// A key that was used before.
    async fn get(&self, id: KeyId) -> Result<ContentKey, KeysError>;

    /// Fails while they are out of reach. Asked before anything is used that was opened with one of them and is still in
    /// memory.
    fn at_hand(&self) -> Result<(), KeysError> {
        Ok(())
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("there is no key {}", .0.0)]
    Unknown(KeyId),
    /// They are out of reach now, for example because custody is sealed.
    #[error("the keys of the object store are out of reach: {reason}")]
    Unavailable { reason: String },
    /// What was sealed with a key does not open with it.
    #[error("what was sealed with key {} does not open with it; it is damaged", .0.0)]
    DoesNotOpen(KeyId),
}
