//! How soon a step that failed is tried again.

use std::collections::HashMap;

use mainstay_domain::plan::{Step, Target};
use mainstay_types::{BindingId, Generation, Timestamp};

/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT_MILLIS: i64 = 200;
/// The longest wait. A fault that lasts is met twice a minute, and its end is noticed within half a minute.
const LONGEST_WAIT_MILLIS: i64 = 30_000;
/// How long after its next try was due a failed step is remembered. Nobody wants a step any more that was not tried
/// again by then, and forgetting it keeps the table as small as what fails at present.
const FORGET_AFTER_SECONDS: u64 = 300;

/// The steps that failed lately and when each may be tried again.
#[derive(Default)]
pub(super) struct Pacing {
    failures: HashMap<Key, Failures>,
}

/// A step is known by what it does and to what; what caused it does not make it another one. Each credential is a thing
/// of its own: one that the engine does not take must not hold up the others of its instance.
#[derive(PartialEq, Eq, Hash, Clone)]
pub(super) struct Key(&'static str, Target, Option<(BindingId, Generation)>);

struct Failures {
    count: u32,
    next_try: Timestamp,
}

impl Key {
    pub(super) fn of(step: &Step) -> Self {
        let credential = match step {
            Step::Bind { binding, generation, .. } | Step::Unbind { binding, generation, .. } => {
                Some((binding.clone(), *generation))
            }
            _ => None,
        };
        Self(step.name(), step.target(), credential)
    }
}

impl Pacing {
    /// The moment before which the step is not to be tried; none when it may be tried now.
    pub(super) fn wait_until(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        self.failures.get(key).map(|failures| failures.next_try).filter(|next_try| *next_try > now)
    }

    pub(super) fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    pub(super) fn failed(&mut self, key: Key, now: Timestamp) {
        self.failures.retain(|_, failures| now < failures.next_try.plus_seconds(FORGET_AFTER_SECONDS));
        let failures = self.failures.entry(key).or_insert(Failures { count: 0, next_try: now });
        let wait = FIRST_WAIT_MILLIS.saturating_mul(1 << failures.count.min(20)).min(LONGEST_WAIT_MILLIS);
        failures.count += 1;
        failures.next_try = Timestamp::from_micros(now.as_micros() + wait * 1000);
    }
}

#[cfg(test)]
mod tests {
    use mainstay_domain::plan::Step;
    use mainstay_types::Timestamp;

    use super::{Key, Pacing};

    #[test]
    fn waits_double_up_to_half_a_minute_and_end_with_a_success() {
        let step = Step::Remove;
        let mut pacing = Pacing::default();
        let mut now = Timestamp::EPOCH;
        let mut waits = Vec::new();
        for _ in 0..10 {
            pacing.failed(Key::of(&step), now);
            let next = pacing.wait_until(&Key::of(&step), now).unwrap();
            waits.push((next.as_micros() - now.as_micros()) / 1000);
            now = next;
            assert_eq!(pacing.wait_until(&Key::of(&step), now), None);
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        pacing.succeeded(&Key::of(&step));
        pacing.failed(Key::of(&step), now);
        assert_eq!(pacing.wait_until(&Key::of(&step), now).unwrap().as_micros() - now.as_micros(), 200_000);
    }
}
