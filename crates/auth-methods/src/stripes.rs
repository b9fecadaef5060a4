//! Locks for keys, without one lock for each.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many locks there are: many more than requests that run at the same time, so that two keys seldom share one.
const STRIPES: usize = 256;

/// Makes "read, decide, write" for one key one step. Keys may share a lock, so nobody holds two of the same stripes.
pub(crate) struct Stripes {
    hasher: RandomState,
    locks: Vec<RwLock<()>>,
}

impl Stripes {
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), locks: (0..STRIPES).map(|_| RwLock::new(())).collect() }
    }

    pub async fn read(&self, key: &str) -> RwLockReadGuard<'_, ()> {
        self.lock(key).read().await
    }

    pub async fn write(&self, key: &str) -> RwLockWriteGuard<'_, ()> {
        self.lock(key).write().await
    }

    fn lock(&self, key: &str) -> &RwLock<()> {
        &self.locks[self.hasher.hash_one(key) as usize % STRIPES]
    }
}
