//! Content that is on its way into the index.
//!
//! Between the moment that content is durable and the moment that the index refers to it, nothing but this keeps it alive.
//! What became unused since the oldest such work began is not collected, so that no claim that somebody still holds in
//! hand is given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_types::Timestamp;

/// All work on content that the index does not refer to yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlights {
    begun: Arc<Mutex<BTreeMap<Timestamp, usize>>>,
}

/// One piece of such work, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    all: InFlights,
    begun: Timestamp,
}

// === impl InFlights ===

impl InFlights {
    /// Begins work.
    pub fn begin(&self, now: Timestamp) -> InFlight {
        *self.lock().entry(now).or_default() += 1;
        InFlight { all: self.clone(), begun: now }
    }

    /// When the oldest work began that goes on.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.lock().first_key_value().map(|(begun, _)| *begun)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Timestamp, usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut begun = self.all.lock();
        if let Some(count) = begun.get_mut(&self.begun) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&self.begun);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::InFlights;

    #[test]
    fn the_oldest_counts_until_all_of_its_moment_have_ended() {
        let all = InFlights::default();
        let [one, two, three] = [1, 1, 2].map(|moment| all.begin(Timestamp::from_micros(moment)));
        drop(one);
        assert_eq!(all.oldest(), Some(Timestamp::from_micros(1)));
        drop(two);
        assert_eq!(all.oldest(), Some(Timestamp::from_micros(2)));
        drop(three);
        assert_eq!(all.oldest(), None);
    }
}
