//! What was kept in a depot in memory, as its inventory tells.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_dataplane::{
    Address, Claim, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt,
    Serve, ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};
use mainstay_types::Timestamp;

/// The contents, by their sizes.
#[derive(Default, Clone)]
pub struct Shelf(pub Arc<Mutex<BTreeMap<Address, u64>>>);

/// A data plane that notes what comes and goes.
pub struct ShelvingPlane {
    pub plane: Arc<dyn DataPlane>,
    pub shelf: Shelf,
}

#[async_trait]
impl Inventory for Shelf {
    async fn contents(&self, _: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let kept = self.0.lock().unwrap();
        let stored = kept.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(address, size)| Stored {
            address: *address,
            size: *size,
            claim: Claim(1),
            // Long ago, so that nothing is left alone for being young.
            claimed_at: Timestamp::EPOCH,
        });
        Ok(stored.take(limit).collect())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Ok(0)
    }
}

#[async_trait]
impl DataPlane for ShelvingPlane {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let receipt = self.plane.ingest_stream(source, hints).await?;
        self.shelf.0.lock().unwrap().insert(receipt.address, receipt.size);
        Ok(receipt)
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        self.plane.serve_object(request).await
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.plane.verify_object(request).await
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        self.shelf.0.lock().unwrap().remove(&request.address);
        self.plane.delete_object(request).await?;
        Ok(Deletion::Deleted)
    }

    async fn backend_health(&self) -> Health {
        self.plane.backend_health().await
    }
}
