//! Content that is on its way into the index.
//!
//! Between the moment that content is durable and the moment that the index refers to it, nothing but this keeps it alive.
//! What became unused since the oldest such work began is not collected, so that no claim that somebody still holds in
//! hand is given up.
//!
//! Content whose work ended before anything referred to it is given up at once, and not after the time of grace: as soon
//! as nobody is left who can hold an older claim on the same content, which would be given up with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_dataplane::{Address, Claim};
use mainstay_types::Timestamp;
use tokio::sync::Notify;

/// Contents that wait to be given up: more than there are uploads at the same time. What comes beyond them is found by the
/// search for content that the index never knew.
const MOST_REFUSED: usize = 4 << 10;

/// All work on content that the index does not refer to yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlights {
    state: Arc<Mutex<State>>,
    /// Told when there may be something to give up.
    refused: Arc<Notify>,
}

/// One piece of such work, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    all: InFlights,
    number: u64,
    /// What nothing refers to yet.
    fresh: Option<Refused>,
}

#[derive(Debug, Default)]
struct State {
    numbers: u64,
    begun: BTreeMap<u64, Work>,
    refused: Vec<Refused>,
}

#[derive(Debug)]
struct Work {
    at: Timestamp,
    content: Expected,
}

/// What is known of the content of some work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// It is coming, and has so many bytes where that is known.
    Coming(Option<u64>),
    /// It is durable.
    Came(Address),
    /// The index refers to it already.
    Known,
}

/// Content that nothing refers to.
#[derive(Debug, Clone, Copy)]
struct Refused {
    address: Address,
    size: u64,
    claim: Claim,
    /// Work with this number or a higher one began when the claim was there, and makes newer claims.
    before: u64,
}

// === impl InFlights ===

impl InFlights {
    /// Begins work.
    pub fn begin(&self, now: Timestamp, content: Expected) -> InFlight {
        let mut state = self.lock();
        let number = state.numbers;
        state.numbers += 1;
        state.begun.insert(number, Work { at: now, content });
        InFlight { all: self.clone(), number, fresh: None }
    }

    /// When the oldest work began that goes on.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.lock().begun.values().map(|work| work.at).min()
    }

    /// Takes out contents that can be given up, so many at most: whoever could hold an older claim on them has ended.
    pub fn take_refused(&self, limit: usize) -> Vec<(Address, Claim)> {
        let mut state = self.lock();
        let State { begun, refused, .. } = &mut *state;
        let mut taken = Vec::new();
        refused.retain(|content| {
            let settled = taken.len() < limit && !begun.range(..content.before).any(|(_, work)| work.may_be(content));
            if settled {
                taken.push((content.address, content.claim));
            }
            !settled
        });
        taken
    }

    /// Resolves when there may be something to give up.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Whether it can be about the same content.
    fn may_be(&self, refused: &Refused) -> bool {
        match self.content {
            Expected::Coming(size) => size.is_none_or(|size| size == refused.size),
            Expected::Came(address) => address == refused.address,
            Expected::Known => false,
        }
    }
}

// === impl InFlight ===

impl InFlight {
    /// The content is durable, and claimed.
    pub fn came(&mut self, address: Address, size: u64, claim: Claim) {
        let mut state = self.all.lock();
        self.fresh = Some(Refused { address, size, claim, before: state.numbers });
        if let Some(work) = state.begun.get_mut(&self.number) {
            work.content = Expected::Came(address);
        }
    }

    /// The index refers to the content.
    pub fn referred(&mut self) {
        self.fresh = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        state.begun.remove(&self.number);
        if state.refused.len() < MOST_REFUSED {
            state.refused.extend(self.fresh.take());
        }
        if !state.refused.is_empty() {
            self.all.refused.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::{Address, Claim};
    use mainstay_types::Timestamp;

    use super::{Expected, InFlights};

    fn at(moment: i64) -> Timestamp {
        Timestamp::from_micros(moment)
    }

    #[test]
    fn the_oldest_counts_until_all_of_its_moment_have_ended() {
        let all = InFlights::default();
        let [one, two, three] = [1, 1, 2].map(|moment| all.begin(at(moment), Expected::Known));
        drop(one);
        assert_eq!(all.oldest(), Some(at(1)));
        drop(two);
        assert_eq!(all.oldest(), Some(at(2)));
        drop(three);
        assert_eq!(all.oldest(), None);
    }

    #[test]
    fn refused_content_waits_for_older_work_on_what_may_be_the_same() {
        let (address, other) = (Address::of(b"one"), Address::of(b"two"));
        // Work that began before the claim was made, and whether it keeps the content from being given up.
        for (content, came, keeps) in [
            (Expected::Coming(None), None, true),
            (Expected::Coming(Some(3)), None, true),
            (Expected::Coming(Some(4)), None, false),
            (Expected::Coming(Some(3)), Some(address), true),
            (Expected::Coming(Some(3)), Some(other), false),
            (Expected::Known, None, false),
        ] {
            let all = InFlights::default();
            let mut older = all.begin(at(1), content);
            if let Some(came) = came {
                older.came(came, 3, Claim(1));
            }
            let mut refused = all.begin(at(2), Expected::Coming(Some(3)));
            refused.came(address, 3, Claim(2));
            let _later = all.begin(at(3), Expected::Coming(Some(3)));
            assert!(all.take_refused(9).is_empty(), "it is still on its way");
            drop(refused);
            assert_eq!(all.take_refused(9).is_empty(), keeps, "{content:?} {came:?}");
            older.referred();
            drop(older);
            assert_eq!(all.take_refused(9).len(), usize::from(keeps));
        }
    }

    #[test]
    fn what_is_referred_to_is_not_given_up() {
        let all = InFlights::default();
        let mut work = all.begin(at(1), Expected::Coming(None));
        work.came(Address::of(b"one"), 3, Claim(1));
        work.referred();
        drop(work);
        assert!(all.take_refused(9).is_empty());
    }
}
