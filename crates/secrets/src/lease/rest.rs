//! Engines that do not answer: their leases wait together, so that those of others do not wait behind them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mainstay_types::Timestamp;

/// The wait after a failure: doubled each time from the first to the longest. A credential that should be gone is tried
/// for again within minutes however long its engine was away.
const FIRST_SECONDS: u64 = 5;
pub(super) const LONGEST_SECONDS: u64 = 300;

/// The longest rest of a mount. It is shorter than one lease's wait, since a mount may hand out for several engines of
/// which one is down.
const LONGEST_REST_SECONDS: u64 = 60;

/// Which mounts are left alone for a while. Holds only those that failed last.
#[derive(Default)]
pub(crate) struct Rests {
    rests: Mutex<HashMap<String, Rest>>,
}

struct Rest {
    failures: u32,
    until: Timestamp,
}

/// How long to wait after so many failures in a row.
pub(crate) fn wait_seconds(failures: u32) -> u64 {
    let doubled = 1 << failures.saturating_sub(1).min(10);
    FIRST_SECONDS.saturating_mul(doubled).min(LONGEST_SECONDS)
}

// === impl Rests ===

impl Rests {
    /// Until when the engine of a mount is left alone.
    pub(crate) fn until(&self, mount: &str, now: Timestamp) -> Option<Timestamp> {
        self.rests().get(mount).map(|rest| rest.until).filter(|until| *until > now)
    }

    /// The engine of a mount did not answer. Those who were asking at the same time count once.
    pub(crate) fn begin(&self, mount: &str, now: Timestamp) {
        let mut rests = self.rests();
        let rest = rests.entry(mount.to_owned()).or_insert(Rest { failures: 0, until: Timestamp::EPOCH });
        if rest.until <= now {
            rest.failures = rest.failures.saturating_add(1);
            rest.until = now.plus_seconds(wait_seconds(rest.failures).min(LONGEST_REST_SECONDS));
        }
    }

    /// The engine of a mount answers.
    pub(crate) fn end(&self, mount: &str) {
        self.rests().remove(mount);
    }

    fn rests(&self) -> std::sync::MutexGuard<'_, HashMap<String, Rest>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{Rests, wait_seconds};

    #[test]
    fn rests_grow_until_the_engine_answers() {
        let (rests, begin) = (Rests::default(), Timestamp::EPOCH);
        assert_eq!(rests.until("m", begin), None);
        rests.begin("m", begin);
        rests.begin("m", begin);
        assert_eq!(rests.until("m", begin), Some(begin.plus_seconds(5)));
        let later = begin.plus_seconds(5);
        assert_eq!(rests.until("m", later), None);
        rests.begin("m", later);
        assert_eq!(rests.until("m", later), Some(later.plus_seconds(10)));
        let much_later = (0..20).map(|hour| begin.plus_seconds(3600 * hour)).inspect(|at| rests.begin("m", *at)).last();
        let much_later = much_later.unwrap();
        assert_eq!(rests.until("m", much_later), Some(much_later.plus_seconds(60)));
        rests.end("m");
        assert_eq!(rests.until("m", much_later), None);
        assert_eq!((wait_seconds(0), wait_seconds(1), wait_seconds(7), wait_seconds(u32::MAX)), (5, 5, 300, 300));
    }
}
