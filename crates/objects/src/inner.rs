//! What all handles to one object store share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mainstay_dataplane::{DataPlane, Inventory};
use mainstay_storage::Store;
use mainstay_types::Timestamp;
use tokio::sync::Notify;

use crate::access_key::{AccessKeyId, HeldKey};
use crate::account::{BucketId, Usage};
use crate::cache::Cache;
use crate::directory::{Directory, Usages};
use crate::feed::Feed;
use crate::inflight::InFlights;
use crate::keys::Keys;
use crate::objects::{Foundations, ObjectsConfig};

pub(crate) struct Inner {
    pub store: Store,
    pub plane: Arc<dyn DataPlane>,
    pub inventory: Arc<dyn Inventory>,
    pub keys: Arc<dyn Keys>,
    pub feed: Arc<dyn Feed>,
    pub config: ObjectsConfig,
    pub cache: Cache,
    pub in_flight: InFlights,
    pub access_keys: RwLock<HashMap<AccessKeyId, HeldKey>>,
    /// Told when there is something in the outbox.
    pub outbox: Notify,
    directory: RwLock<Arc<Directory>>,
    usages: RwLock<Usages>,
    clock: AtomicI64,
}

impl Inner {
    pub fn new(foundations: Foundations, config: ObjectsConfig, directory: Directory, usages: Usages) -> Self {
        let Foundations { store, plane, inventory, keys, feed } = foundations;
        Self {
            store,
            plane,
            inventory,
            keys,
            feed,
            cache: Cache::new(config.cache_bytes),
            config,
            in_flight: InFlights::default(),
            access_keys: RwLock::default(),
            outbox: Notify::new(),
            directory: RwLock::new(Arc::new(directory)),
            usages: RwLock::new(usages),
            clock: AtomicI64::new(0),
        }
    }

    /// The time, which does not go back here: what is on its way is told from what is unused by it.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now().as_micros();
        Timestamp::from_micros(self.clock.fetch_max(now, Ordering::AcqRel).max(now))
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_directory(&self, directory: Arc<Directory>) {
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = directory;
    }

    pub fn usages(&self) -> Usages {
        self.usages.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn usage(&self, bucket: BucketId) -> Usage {
        self.usages.read().unwrap_or_else(PoisonError::into_inner).get(&bucket).copied().unwrap_or_default()
    }

    pub fn set_usages(&self, usages: Usages) {
        *self.usages.write().unwrap_or_else(PoisonError::into_inner) = usages;
    }

    pub fn update_usages(&self, changed: Vec<(BucketId, Usage)>, removed: Option<BucketId>) {
        let mut usages = self.usages.write().unwrap_or_else(PoisonError::into_inner);
        for (bucket, usage) in changed {
            usages.insert(bucket, usage);
        }
        if let Some(removed) = removed {
            usages.remove(&removed);
        }
    }
}
