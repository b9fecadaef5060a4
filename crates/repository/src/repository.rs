//! The repository itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_dataplane::{
    Address, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt, Serve,
    ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};
use uuid::Uuid;

use crate::{
    Behind, Credentials, DocumentError, Location, MirrorError, Mirrored, OpenError, Progress, RecoveryKey, Report,
    VerifyOptions,
};

/// Which repository, and its promises.
#[derive(Debug, Clone)]
pub struct Config {
    pub location: Location,
    pub credentials: Credentials,
    /// Nothing younger is removed, whoever asks for it.
    pub immutable_for: Duration,
}

/// An open repository. Clones are the same one.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner;

/// What a repository holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    pub contents: u64,
    /// Of all contents, as they were ingested.
    pub raw_bytes: u64,
    /// Of all packs, as they lie there.
    pub stored_bytes: u64,
    pub packs: u64,
    pub chunks: u64,
    /// Memory that the index of chunks takes.
    pub index_memory_bytes: u64,
}

impl Config {
    pub fn new(location: Location, credentials: Credentials) -> Self {
        Self { location, credentials, immutable_for: Duration::ZERO }
    }
}

impl Repository {
    pub async fn create(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        todo!()
    }

    pub async fn open(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        todo!()
    }

    pub async fn open_or_create(config: Config, key: &RecoveryKey) -> Result<Self, OpenError> {
        todo!()
    }

    pub fn id(&self) -> Uuid {
        todo!()
    }

    pub fn location(&self) -> &Location {
        todo!()
    }

    pub fn statistics(&self) -> Statistics {
        todo!()
    }

    /// Keeps a document, in place of the one that had its name. Durable when this returns.
    pub async fn put_document(&self, kind: &str, name: &str, bytes: Bytes) -> Result<(), DocumentError> {
        todo!()
    }

    pub async fn document(&self, kind: &str, name: &str) -> Result<Option<Bytes>, DocumentError> {
        todo!()
    }

    /// The names of a kind, in order.
    pub async fn documents(&self, kind: &str) -> Result<Vec<String>, DocumentError> {
        todo!()
    }

    /// Whether there was one.
    pub async fn remove_document(&self, kind: &str, name: &str) -> Result<bool, DocumentError> {
        todo!()
    }

    /// Reads everything and names what is damaged.
    pub async fn verify(
        &self,
        options: VerifyOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Report, Trouble> {
        todo!()
    }

    /// Makes another location a copy of this repository.
    pub async fn mirror(
        &self,
        to: &Location,
        credentials: &Credentials,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Mirrored, MirrorError> {
        todo!()
    }

    /// How far a copy is behind, without copying anything.
    pub async fn behind(&self, to: &Location, credentials: &Credentials) -> Result<Behind, MirrorError> {
        todo!()
    }

    /// Ends its writing, so that another process need not wait for it.
    pub async fn close(self) {
        todo!()
    }
}

#[async_trait]
impl DataPlane for Repository {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        todo!()
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        todo!()
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        todo!()
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        todo!()
    }

    async fn backend_health(&self) -> Health {
        todo!()
    }
}

#[async_trait]
impl Inventory for Repository {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        todo!()
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        todo!()
    }
}
