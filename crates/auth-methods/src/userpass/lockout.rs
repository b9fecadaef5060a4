//! Locking names out whose passwords are being guessed: Vault's user lockout.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mainstay_types::Timestamp;

/// How many failures lock a name: Vault's default.
const FAILURES: u32 = 5;

/// How long a name stays locked, and how long a failure counts, in seconds: Vault's defaults.
const LOCKED_SECONDS: f64 = 15.0 * 60.0;

/// How many names are remembered for each mount: some ten megabytes at most. To push a name out, more names than this
/// have to fail after it, and each of them costs whoever guesses a slow hash.
const REMEMBERED: usize = 50_000;

/// Which names failed lately. Kept in memory only: a restart forgives, as in Vault.
pub(super) struct Lockout {
    names: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Lockout {
    pub fn new() -> Self {
        Self { names: Mutex::new(HashMap::new()) }
    }

    pub fn is_locked(&self, name: &str, now: Timestamp) -> bool {
        self.with(|names| names.get(name).is_some_and(|failures| failures.count >= FAILURES && failures.counts_at(now)))
    }

    pub fn failed(&self, name: &str, now: Timestamp) {
        self.with(|names| {
            if names.len() >= REMEMBERED && !names.contains_key(name) {
                make_room(names, now);
            }
            let failures = names.entry(name.to_owned()).or_insert(Failures { count: 0, last: now });
            let count = if failures.counts_at(now) { failures.count.saturating_add(1) } else { 1 };
            *failures = Failures { count, last: now };
        });
    }

    pub fn succeeded(&self, name: &str) {
        self.with(|names| names.remove(name));
    }

    fn with<T>(&self, action: impl FnOnce(&mut HashMap<String, Failures>) -> T) -> T {
        action(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Failures {
    fn counts_at(self, now: Timestamp) -> bool {
        now.seconds_since(self.last) < LOCKED_SECONDS
    }
}

/// Forgets what does not count any more, or else the half that failed first.
fn make_room(names: &mut HashMap<String, Failures>, now: Timestamp) {
    names.retain(|_, failures| failures.counts_at(now));
    if names.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<Timestamp> = names.values().map(|failures| failures.last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    let mut surplus = names.len() - REMEMBERED / 2;
    names.retain(|_, failures| {
        let forget = surplus > 0 && failures.last <= median;
        surplus -= usize::from(forget);
        !forget
    });
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{FAILURES, Lockout, REMEMBERED};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    #[test]
    fn a_name_is_locked_for_a_time() {
        let lockout = Lockout::new();
        for _ in 1..FAILURES {
            lockout.failed("ada", at(0));
            assert!(!lockout.is_locked("ada", at(0)));
        }
        lockout.failed("ada", at(10));
        assert!(lockout.is_locked("ada", at(10)) && !lockout.is_locked("bob", at(10)));
        assert!(lockout.is_locked("ada", at(909)) && !lockout.is_locked("ada", at(910)));
    }

    #[test]
    fn a_success_and_time_forgive() {
        let lockout = Lockout::new();
        for _ in 1..FAILURES {
            lockout.failed("ada", at(0));
            lockout.failed("bob", at(0));
        }
        lockout.succeeded("ada");
        lockout.failed("ada", at(1));
        lockout.failed("bob", at(1000));
        assert!(!lockout.is_locked("ada", at(1)) && !lockout.is_locked("bob", at(1000)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stays() {
        let lockout = Lockout::new();
        let many = 3 * REMEMBERED as u64;
        for number in 0..many {
            lockout.failed(&number.to_string(), Timestamp::from_micros(number as i64));
        }
        let names = lockout.names.lock().unwrap();
        assert!(names.len() <= REMEMBERED);
        assert!((many - 1_000..many).all(|number| names.contains_key(&number.to_string())));
    }
}
