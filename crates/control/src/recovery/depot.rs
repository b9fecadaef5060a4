//! Where backups are kept, as the control plane sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use mainstay_dataplane::{DataPlane, Inventory};

/// A store of contents, and of small named documents that say what the contents are.
///
/// Kinds and names of documents are of letters, digits, `.`, `-` and `_`; they list in their order.
#[async_trait]
pub trait Depot: Send + Sync + 'static {
    /// Where contents go.
    async fn plane(&self) -> Result<Arc<dyn DataPlane>, DepotError>;

    /// What is there, and the room of what is gone.
    async fn inventory(&self) -> Result<Arc<dyn Inventory>, DepotError>;

    /// Keeps a document, in place of the one of that name. It is durable when this returns.
    async fn put(&self, kind: &str, name: &str, bytes: Vec<u8>) -> Result<(), DepotError>;

    async fn get(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, DepotError>;

    /// The names of all documents of a kind, in their order.
    async fn names(&self, kind: &str) -> Result<Vec<String>, DepotError>;

    /// Removes a document, where there is one. Answers whether there is none any more: one that may not be removed yet stays.
    async fn remove(&self, kind: &str, name: &str) -> Result<bool, DepotError>;

    /// Is told which documents, by kind and name, can not be read, each time that was looked for.
    fn tell_damaged(&self, _documents: &BTreeSet<String>) {}
}

/// Why the depot did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// It may work when it is tried again.
    #[error("the backup repository does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What lies there is not what was kept.
    #[error("the backup repository is damaged")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
}
