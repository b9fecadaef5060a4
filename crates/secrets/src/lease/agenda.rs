//! When which token or lease is due, in memory: what is on disk says the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_types::Timestamp;
use tokio::sync::Notify;

use crate::lease::entry::LeaseKey;
use crate::token::TokenKey;

/// Something that may have to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Due {
    Token(TokenKey),
    Lease(LeaseKey),
}

/// What is due when, each once. An entry may come too early: whoever takes it looks at the token or lease itself.
#[derive(Default)]
pub(crate) struct Agenda {
    entries: Mutex<Entries>,
    earlier: Notify,
}

#[derive(Default)]
struct Entries {
    in_order: BTreeSet<(Timestamp, Due)>,
    times: HashMap<Due, Timestamp>,
}

// === impl Agenda ===

impl Agenda {
    /// Puts something at a time, and no longer at the one where it was.
    pub(crate) fn put(&self, at: Timestamp, due: Due) {
        let mut entries = self.entries();
        if let Some(before) = entries.times.insert(due.clone(), at) {
            entries.in_order.remove(&(before, due.clone()));
        }
        let is_first = entries.in_order.first().is_none_or(|(first, _)| at < *first);
        entries.in_order.insert((at, due));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Puts something at a time unless it has one.
    pub(crate) fn put_missing(&self, at: Timestamp, due: Due) {
        if !self.entries().times.contains_key(&due) {
            self.put(at, due);
        }
    }

    /// Takes what is due by now, at most so many.
    pub(crate) fn take(&self, now: Timestamp, limit: usize) -> Vec<Due> {
        let mut entries = self.entries();
        let mut taken = Vec::new();
        while taken.len() < limit && entries.in_order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, due)) = entries.in_order.pop_first() else { break };
            entries.times.remove(&due);
            taken.push(due);
        }
        taken
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.entries().in_order.first().map(|(at, _)| *at)
    }

    /// Resolves once something was put before all others.
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
