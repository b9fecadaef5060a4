//! Backends: what is mounted.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_types::Timestamp;
use serde_json::Value;

use crate::answer::{Answer, Lease, Login};
use crate::refusal::Refusal;
use crate::request::{Mount, Request};
use crate::storage::Storage;

/// Whether something is mounted below `auth/` and lets callers in, or anywhere else and keeps secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Secrets,
    Auth,
}

/// A kind of backend, by which it is mounted: `kv`, `transit`, `approle`.
#[async_trait]
pub trait Kind: Send + Sync + 'static {
    /// The `type` that clients mount it with.
    fn name(&self) -> &'static str;

    fn class(&self) -> Class;

    /// Opens the backend of one mount. Called when it is mounted, when its settings change, and after each unsealing;
    /// the one before is dropped then, with whatever it held in memory.
    async fn open(&self, mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal>;
}

/// Paths of a backend with something special about them. A `*` at the end matches every rest, a `+` one segment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Globs {
    /// These need no token: `login`.
    pub unauthenticated: &'static [&'static str],
    /// These need the capability `sudo` beside the other one.
    pub sudo: &'static [&'static str],
}

/// What is mounted at one path. All calls for it may run at the same time.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Paths with something special about them.
    fn globs(&self) -> Globs {
        Globs::default()
    }

    /// Whether there is something at the path of a write, which makes it an update instead of a creation. `None` where
    /// the backend does not tell them apart: then every write is an update.
    async fn exists(&self, _request: &Request) -> Result<Option<bool>, Refusal> {
        Ok(None)
    }

    /// Does what is asked.
    async fn handle(&self, request: &Request) -> Result<Answer, Refusal>;

    /// Takes back for ever what was handed out with a lease, given its `internal`. Idempotent: what is gone already is
    /// taken back. Tried again until it succeeds.
    async fn revoke(&self, _internal: &Value, _now: Timestamp) -> Result<(), Refusal> {
        Ok(())
    }

    /// Makes what was handed out last `seconds` from now on, where it has to be told. The lease that is answered says
    /// what a renewal may reach now: roles change.
    async fn renew(&self, lease: Lease, _seconds: u64, _now: Timestamp) -> Result<Lease, Refusal> {
        Ok(lease)
    }

    /// Looks again whether a token of this auth method may be renewed, given what its login said: the role or the user
    /// may be gone by now. What is answered says how far.
    async fn renew_login(&self, login: Login, _now: Timestamp) -> Result<Login, Refusal> {
        Ok(login)
    }

    /// Work that has to be done from time to time: tidying up, rotating. Called about once a minute.
    async fn tend(&self, _now: Timestamp) -> Result<(), Refusal> {
        Ok(())
    }
}
