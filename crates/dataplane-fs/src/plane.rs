//! The store as the contract's data plane.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_dataplane::{
    Address, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt, Serve,
    ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};

use crate::store::{Store, blocking};
use crate::{FsConfig, OpenError};

/// The published name of this driver.
const NAME: &str = "seed-fs";

/// How long looking at the disk may take: a disk that answers later does not work.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);

/// A content store in a directory. Clones are the same store.
#[derive(Clone)]
pub struct FsPlane {
    store: Arc<Store>,
}

impl FsPlane {
    /// Opens the store of a directory; an empty directory, or one that does not exist, becomes an empty store. One process
    /// at a time works in a store.
    pub async fn open(directory: &Path, config: FsConfig) -> Result<Self, OpenError> {
        let owned = directory.to_owned();
        let opened = blocking(move || Store::open(&owned, config)).await;
        let stopped = |trouble| OpenError::at(directory)(std::io::Error::other(trouble));
        Ok(Self { store: Arc::new(opened.map_err(stopped)??) })
    }

    /// Writes down what is known and lets the directory go; whatever was asked for before is done first. Later operations
    /// answer that the store is closed. A store that is dropped instead closes too, but nobody knows when.
    pub async fn close(&self) {
        let store = Arc::clone(&self.store);
        let _ = blocking(move || store.close()).await;
    }
}

#[async_trait]
impl DataPlane for FsPlane {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        self.store.ingest(source, hints).await
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        self.store.serve(request).await
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.store.verify(request).await
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        self.store.delete(request).await
    }

    async fn backend_health(&self) -> Health {
        let store = Arc::clone(&self.store);
        let look = blocking(move || store.is_open().and_then(|()| store.disk.free_bytes()));
        let found = match tokio::time::timeout(HEALTH_WITHIN, look).await {
            Ok(found) => found.and_then(|found| found),
            Err(_) => Err(Trouble::unavailable("the disk of the content store does not answer")),
        };
        let (contents, stored_bytes) = self.store.index.ledger(|ledger| (ledger.contents, ledger.stored_bytes));
        let (free_bytes, trouble) = match found {
            Ok(free) => (Some(free), None),
            Err(trouble) => (None, Some(trouble.to_string())),
        };
        Health { backend: NAME.into(), trouble, contents, stored_bytes, free_bytes }
    }
}

#[async_trait]
impl Inventory for FsPlane {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        self.store.is_open()?;
        let index = Arc::clone(&self.store.index);
        blocking(move || index.contents(owner, after, limit)).await?
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        self.store.reclaim().await
    }
}
