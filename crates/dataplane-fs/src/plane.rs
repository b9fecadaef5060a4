//! The store as the contract's data plane.

use std::path::Path;

use async_trait::async_trait;
use mainstay_dataplane::{
    Address, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt, Serve,
    ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};

use crate::{FsConfig, OpenError};

/// A content store in a directory. Clones are the same store.
#[derive(Clone)]
pub struct FsPlane {}

impl FsPlane {
    /// Opens the store of a directory; an empty directory, or one that does not exist, becomes an empty store.
    pub async fn open(directory: &Path, config: FsConfig) -> Result<Self, OpenError> {
        let _ = (directory, config);
        Ok(Self {})
    }

    /// Writes down what is known and lets the directory go. Later operations answer that the store is closed.
    pub async fn close(&self) {}
}

fn closed() -> Trouble {
    Trouble::unavailable("the content store is closed")
}

#[async_trait]
impl DataPlane for FsPlane {
    async fn ingest_stream(&self, _: Source, _: Hints) -> Result<Receipt, IngestError> {
        Err(closed().into())
    }

    async fn serve_object(&self, _: Serve) -> Result<Served, ServeError> {
        Err(closed().into())
    }

    async fn verify_object(&self, _: Verify) -> Result<Verified, ServeError> {
        Err(closed().into())
    }

    async fn delete_object(&self, _: Delete) -> Result<Deletion, DeleteError> {
        Err(closed().into())
    }

    async fn backend_health(&self) -> Health {
        Health { backend: "seed-fs".into(), trouble: None, contents: 0, stored_bytes: 0, free_bytes: None }
    }
}

#[async_trait]
impl Inventory for FsPlane {
    async fn contents(&self, _: Owner, _: Option<Address>, _: usize) -> Result<Vec<Stored>, Trouble> {
        Err(closed())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Err(closed())
    }
}
