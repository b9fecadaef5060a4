//! Who keeps the master key where the seal is a key file: the layer.

use async_trait::async_trait;
use mainstay_secrets_engine::Fault;

/// The file whose key opens custody at each start.
#[async_trait]
pub trait KeyFile: Send + Sync + 'static {
    /// Puts a new key in the place of the one in the file, which opens nothing any more. Wherever this ends, also in a crash,
    /// custody opens at the next start.
    async fn rotate(&self) -> Result<(), Fault>;
}
