//! A data plane that behaves as few do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Address, Body, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt,
    Serve, ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};

/// Serves a stream without an end, refuses or never finishes what it is given, and never ends verifying.
#[derive(Clone, Default)]
pub struct OddPlane {
    /// Refuses streams at once instead of holding them.
    pub full: bool,
    /// Parts that have been served.
    pub served: Arc<AtomicU64>,
    /// Bytes that have been read of what was to be kept.
    pub read: Arc<AtomicU64>,
    /// Calls that go on.
    pub going: Arc<AtomicU64>,
}

/// Bytes of a part that is served.
pub const PART: usize = 100_000;

struct Going(Arc<AtomicU64>);

impl OddPlane {
    fn begin(&self) -> Going {
        self.going.fetch_add(1, Ordering::SeqCst);
        Going(self.going.clone())
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl DataPlane for OddPlane {
    async fn ingest_stream(&self, mut source: Source, _: Hints) -> Result<Receipt, IngestError> {
        let _going = self.begin();
        if self.full {
            return Err(Trouble::Full { reason: "not a byte is left".to_owned() }.into());
        }
        let first = source.next().await.expect("there is a part").map_err(IngestError::Source)?;
        self.read.fetch_add(first.len() as u64, Ordering::SeqCst);
        // The backend stalls.
        std::future::pending().await
    }

    async fn serve_object(&self, _: Serve) -> Result<Served, ServeError> {
        let (served, going) = (self.served.clone(), self.begin());
        let parts = stream::repeat_with(move || {
            let _ = &going;
            served.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::from(vec![7; PART]))
        });
        Ok(Served { size: u64::MAX, body: Body::Stream(Box::pin(parts)) })
    }

    async fn verify_object(&self, _: Verify) -> Result<Verified, ServeError> {
        let _going = self.begin();
        std::future::pending().await
    }

    async fn delete_object(&self, _: Delete) -> Result<Deletion, DeleteError> {
        Ok(Deletion::Absent)
    }

    async fn backend_health(&self) -> Health {
        Health { backend: "odd".to_owned(), trouble: None, contents: 0, stored_bytes: 0, free_bytes: None }
    }
}

#[async_trait]
impl Inventory for OddPlane {
    async fn contents(&self, _: Owner, _: Option<Address>, _: usize) -> Result<Vec<Stored>, Trouble> {
        Ok(Vec::new())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Ok(0)
    }
}
