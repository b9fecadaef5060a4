//! Contents that were found damaged since the store was opened.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use mainstay_dataplane::Address;

/// How many are remembered. A disk with more of them needs another remedy than ingesting anew.
const MAX_REMEMBERED: usize = 4096;

/// Remembers what is damaged, so that the next ingest of the same content stores it anew instead of claiming what is
/// not there.
#[derive(Debug, Default)]
pub(crate) struct Damaged(Mutex<HashSet<Address>>);

impl Damaged {
    pub(crate) fn contains(&self, address: &Address) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// Remembers a content, and says whether it was not known to be damaged before.
    pub(crate) fn insert(&self, address: Address) -> bool {
        let mut damaged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.len() < MAX_REMEMBERED && damaged.insert(address)
    }

    /// It was stored anew.
    pub(crate) fn remove(&self, address: &Address) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}
