//! The data plane itself: what its operations share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mainstay_content::{BufferPool, GROUP_LEN};
use mainstay_dataplane::{
    Address, Claim, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner, Receipt,
    Serve, ServeError, Served, Source, Stored, Trouble, Verified, Verify,
};
use mainstay_types::Timestamp;
use tokio::sync::RwLock;
use tokio_util::task::AbortOnDropHandle;

use crate::census::Census;
use crate::damage_seen::DamageSeen;
use crate::failure::Failure;
use crate::in_use::InUse;
use crate::serve::Layouts;
use crate::store::{Condition, Store};
use crate::{OpenError, S3Config, operator};

/// The published name of this backend.
const BACKEND: &str = "rustfs";

/// Groups that are read, verified and served at a time: 1 MiB, which is the block of the stores this was measured with.
pub(crate) const WINDOW_GROUPS: u64 = 16;

/// The longest content that lies within its record, and the pieces in which longer content is taken in. One request is
/// cheaper than the four that data of its own takes, and a record is written anew with each claim.
pub(crate) const PIECE_LEN: usize = WINDOW_GROUPS as usize * GROUP_LEN;

/// Buffers that are kept for the next stream. How many there are at a time, the streams determine.
const IDLE_BUFFERS: usize = 32;

/// Locks that contents share: enough that two contents which are in work at the same time seldom meet.
const LOCKS: usize = 1_024;

/// The data plane on an S3-compatible store.
pub struct S3Plane {
    inner: Arc<Inner>,
    _census: Option<AbortOnDropHandle<()>>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<Store>,
    /// Whether the store looks at the conditions of a write.
    pub(crate) conditional: bool,
    pub(crate) in_use: InUse,
    pub(crate) damage_seen: DamageSeen,
    pub(crate) census: Arc<Census>,
    /// Of larger content. What changes a record takes it out, under the lock.
    pub(crate) layouts: Layouts,
    pub(crate) pool: BufferPool,
    locks: Vec<RwLock<()>>,
    last_claim: AtomicU64,
}

impl S3Plane {
    /// Finds out whether the store can be used, and what it can do.
    pub async fn open(config: S3Config) -> Result<Self, OpenError> {
        let refused = |failure: Failure| {
            let (endpoint, bucket) = (config.endpoint.clone(), config.bucket.clone());
            match failure {
                Failure::Denied(reason) => OpenError::Denied { endpoint, bucket, reason },
                Failure::NoBucket => OpenError::NoBucket { endpoint, bucket },
                other => OpenError::Trouble { endpoint, source: other.into() },
            }
        };
        let store = Arc::new(Store::new(operator::build(&config)?, config.patience));
        let conditional = honours_conditions(&store).await.map_err(refused)?;
        if conditional {
            tracing::info!(endpoint = config.endpoint, "the object store honours conditional writes");
        } else {
            tracing::warn!(
                endpoint = config.endpoint,
                bucket = config.bucket,
                prefix = config.prefix,
                "the object store ignores conditional writes: nothing but this process may write below the prefix"
            );
        }
        let census = Arc::new(Census::default());
        let more = census.begin(&store).await.map_err(refused)?;
        let counting = more
            .map(|after| AbortOnDropHandle::new(tokio::spawn(Arc::clone(&census).go_on(Arc::clone(&store), after))));
        let inner = Inner {
            store,
            conditional,
            in_use: InUse::default(),
            damage_seen: DamageSeen::default(),
            census,
            layouts: Layouts::new(),
            pool: BufferPool::new(PIECE_LEN, IDLE_BUFFERS),
            locks: (0..LOCKS).map(|_| RwLock::new(())).collect(),
            last_claim: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner), _census: counting })
    }

    /// Whether the store refuses a write whose condition does not hold, as S3 does. Where it ignores conditions, only the
    /// locks of this process keep records right.
    pub fn honours_conditions(&self) -> bool {
        self.inner.conditional
    }
}

#[async_trait]
impl DataPlane for S3Plane {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        self.inner.ingest(source, hints).await
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        self.inner.serve(request).await
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.inner.verify(request).await
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        Ok(self.inner.delete(request).await.map_err(Trouble::from)?)
    }

    async fn backend_health(&self) -> Health {
        let trouble = self.inner.store.ping().await.err().map(|failure| Trouble::from(failure).to_string());
        let (contents, stored_bytes) = self.inner.census.read();
        Health { backend: BACKEND.into(), trouble, contents, stored_bytes, free_bytes: None }
    }
}

#[async_trait]
impl Inventory for S3Plane {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        Ok(self.inner.contents(owner, after, limit).await?)
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Ok(self.inner.reclaim().await?)
    }
}

impl Inner {
    /// The lock of a content's record: shared by who reads it, held alone by who changes it.
    pub(crate) fn lock(&self, address: &Address) -> &RwLock<()> {
        let [first, second, ..] = address.digest().as_bytes();
        &self.locks[usize::from(u16::from_le_bytes([*first, *second])) % LOCKS]
    }

    /// A claim above every earlier one, also above those on content that has gone since: the microseconds of the clock,
    /// or one more than the last where the clock stands or goes back.
    pub(crate) fn next_claim(&self, newest: Option<Claim>, now: Timestamp) -> Claim {
        let least = now.as_micros().max(0) as u64;
        let least = newest.map_or(least, |Claim(newest)| least.max(newest.saturating_add(1)));
        let after = |last: u64| least.max(last.saturating_add(1));
        let last = self
            .last_claim
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)))
            .unwrap_or_else(|last| last);
        Claim(after(last))
    }
}

/// Whether a write that must not happen does not happen.
async fn honours_conditions(store: &Store) -> Result<bool, Failure> {
    let key = format!("probe/{}", crate::keys::DataId::draw());
    store.put(&key, "1", Condition::None).await?;
    let absent = store.put(&key, "2", Condition::Absent).await;
    let unchanged = store.put(&key, "3", Condition::Unchanged("\"00000000000000000000000000000000\"")).await;
    store.delete(&[key]).await?;
    Ok(absent == Err(Failure::Unmet) && unchanged == Err(Failure::Unmet))
}
