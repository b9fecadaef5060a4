//! Who remembers elsewhere how far custody's store has come, and what happened to it: the journal.

use async_trait::async_trait;
use mainstay_secrets_engine::Fault;

/// Something that happened to custody as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustodyEvent {
    Initialized,
    Unsealed,
    Sealed,
    KeyRotated,
    Rekeyed,
    Restored,
    /// Nothing but that it has come further.
    Witnessed,
}

/// Remembers what happened to custody, where whoever can write to custody's store cannot.
#[async_trait]
pub trait Witness: Send + Sync + 'static {
    /// How far the store had come when it was seen last. A store that has come less far is an old copy.
    fn position(&self) -> u64;

    /// Remembers an event, and how far the store had come.
    async fn record(&self, event: CustodyEvent, position: u64) -> Result<(), Fault>;
}
