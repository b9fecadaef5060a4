//! Contents that were found damaged.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use mainstay_dataplane::Address;

/// Who has more than this to repair does not do it in one life of a process.
const MAX_REMEMBERED: usize = 100_000;

/// Remembers damage, so that the next ingest of the same content repairs it in place of keeping what is there.
#[derive(Debug, Default)]
pub(crate) struct DamageSeen(Mutex<HashSet<Address>>);

impl DamageSeen {
    pub(crate) fn remember(&self, address: Address) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_REMEMBERED && seen.insert(address) {
            tracing::error!(%address, "stored content is damaged");
        }
    }

    pub(crate) fn contains(&self, address: &Address) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    pub(crate) fn forget(&self, address: &Address) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}
