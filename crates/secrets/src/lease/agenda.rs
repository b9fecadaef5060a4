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

/// What is due in the near future, each once. An entry may come too early: whoever takes it looks at the token or lease
/// itself.
pub(crate) struct Agenda {
    entries: Mutex<Entries>,
    earlier: Notify,
}

struct Entries {
    in_order: BTreeSet<(Timestamp, Due)>,
    times: HashMap<Due, Timestamp>,
    /// What is due later is not held: a million tokens of a month would fill the memory for nothing.
    until: Timestamp,
}

// === impl Agenda ===

impl Agenda {
    /// An empty one, for what is due until some time.
    pub(crate) fn new(until: Timestamp) -> Self {
        let entries = Entries { in_order: BTreeSet::new(), times: HashMap::new(), until };
        Self { entries: Mutex::new(entries), earlier: Notify::new() }
    }

    /// From now on what is due until a later time is held. Whoever says so brings everything that is on disk.
    pub(crate) fn reach(&self, until: Timestamp) {
        let mut entries = self.entries();
        entries.until = entries.until.max(until);
    }

    /// Puts something at a time, unless it is there for an earlier one: looking too early costs little, and looking too
    /// late keeps what should be gone.
    pub(crate) fn put(&self, at: Timestamp, due: Due) {
        let mut entries = self.entries();
        if at > entries.until {
            return;
        }
        match entries.times.get(&due).copied() {
            Some(before) if before <= at => return,
            Some(before) => drop(entries.in_order.remove(&(before, due.clone()))),
            None => {}
        }
        let is_first = entries.in_order.first().is_none_or(|(first, _)| at < *first);
        entries.times.insert(due.clone(), at);
        entries.in_order.insert((at, due));
        if is_first {
            self.earlier.notify_one();
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

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{Agenda, Due};
    use crate::token::TokenKey;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    fn token(name: &str) -> Due {
        Due::Token(TokenKey(name.to_owned()))
    }

    #[test]
    fn the_earliest_time_counts() {
        let agenda = Agenda::new(at(100));
        agenda.put(at(20), token("a"));
        agenda.put(at(10), token("b"));
        agenda.put(at(30), token("a"));
        agenda.put(at(5), token("a"));
        assert_eq!(agenda.next(), Some(at(5)));
        assert_eq!(agenda.take(at(10), 8), [token("a"), token("b")]);
        assert_eq!((agenda.next(), agenda.take(at(99), 8)), (None, Vec::new()));
    }

    #[test]
    fn what_is_far_away_is_not_held() {
        let agenda = Agenda::new(at(100));
        agenda.put(at(101), token("a"));
        assert_eq!(agenda.next(), None);
        agenda.reach(at(200));
        agenda.put(at(101), token("a"));
        agenda.reach(at(50));
        agenda.put(at(102), token("b"));
        assert_eq!(agenda.take(at(200), 1), [token("a")]);
        assert_eq!(agenda.take(at(200), 1), [token("b")]);
    }
}
