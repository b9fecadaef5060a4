//! Locks by path, so that writers of one secret wait for one another instead of failing.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// How many locks there are: enough that writers of different secrets seldom meet, which would cost them time only.
const STRIPES: usize = 64;

pub(crate) struct Stripes {
    locks: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl Stripes {
    pub(crate) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    /// Waits for all other writers of the path.
    pub(crate) async fn lock(&self, path: &str) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(path) as usize % STRIPES;
        self.locks[stripe].lock().await
    }
}
