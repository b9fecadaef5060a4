//! When a cluster whose process ended is started again, and when that is given up.

use std::collections::VecDeque;

use mainstay_types::Timestamp;

/// How starts are spaced out. Pure: the same ends at the same times give the same decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// How long to wait after the first, second, ... recent end; the last one holds for all further ones.
    pub delays_millis: &'static [u32],
    /// As many ends within the window are a crash loop.
    pub give_up_after: usize,
    /// How long an end counts. A process that lives this long has recovered.
    pub window_seconds: u32,
    /// How often a cluster that was given up is tried all the same, so that one whose disk was full heals by itself.
    pub retry_seconds: u32,
}

impl Default for RestartPolicy {
    /// The first start is immediate, because a killed process has to serve again within 5 s; a crash loop is
    /// declared after about 20 s, before which a person would hardly have looked.
    fn default() -> Self {
        Self {
            delays_millis: &[0, 200, 500, 1_000, 2_000, 5_000],
            give_up_after: 8,
            window_seconds: 120,
            retry_seconds: 60,
        }
    }
}

/// What to do about a cluster that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Start,
    /// It ended a moment ago; start it then.
    Wait {
        until: Timestamp,
    },
    /// It is in a crash loop. The cluster has failed until it is tried once more.
    GiveUp {
        reason: String,
        retry_at: Timestamp,
    },
}

/// The recent ends of one cluster's process, failed starts among them.
#[derive(Debug, Clone, Default)]
pub struct CrashHistory {
    policy: RestartPolicy,
    /// At most `give_up_after` of them, the newest last.
    ends: VecDeque<Timestamp>,
    last_cause: String,
    given_up: bool,
}

impl CrashHistory {
    /// A history without ends.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The process ended, or could not be started. The cause is best one that carries the last log lines.
    pub fn record(&mut self, now: Timestamp, cause: impl Into<String>) {
        if self.recovered(now) {
            self.ends.clear();
            self.given_up = false;
        }
        self.ends.push_back(now);
        if self.ends.len() > self.policy.give_up_after {
            self.ends.pop_front();
        }
        self.last_cause = cause.into();
        self.given_up |= self.recent(now) >= self.policy.give_up_after;
    }

    /// What to do now, with a process that does not run.
    pub fn decide(&self, now: Timestamp) -> Decision {
        let Some(&last) = self.ends.back() else { return Decision::Start };
        if self.recovered(now) {
            return Decision::Start;
        }
        if self.given_up {
            let retry_at = last.plus_seconds(self.policy.retry_seconds.into());
            return if now >= retry_at {
                Decision::Start
            } else {
                Decision::GiveUp { reason: self.reason(), retry_at }
            };
        }
        let step = self.recent(now).clamp(1, self.policy.delays_millis.len()) - 1;
        let delay = i64::from(self.policy.delays_millis[step]) * 1_000;
        let until = Timestamp::from_micros(last.as_micros().saturating_add(delay));
        if now >= until { Decision::Start } else { Decision::Wait { until } }
    }

    /// Whether the cluster counts as failed.
    pub fn has_given_up(&self) -> bool {
        self.given_up
    }

    fn recovered(&self, now: Timestamp) -> bool {
        self.ends.back().is_some_and(|last| now.seconds_since(*last) >= f64::from(self.policy.window_seconds))
    }

    fn recent(&self, now: Timestamp) -> usize {
        let window = f64::from(self.policy.window_seconds);
        self.ends.iter().filter(|end| now.seconds_since(**end) < window).count()
    }

    fn reason(&self) -> String {
        format!(
            "it ended {} times within {} s, the last time because {}",
            self.policy.give_up_after, self.policy.window_seconds, self.last_cause
        )
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{CrashHistory, Decision, RestartPolicy};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000)
    }

    fn wait(millis: i64) -> Decision {
        Decision::Wait { until: at(millis) }
    }

    #[test]
    fn starts_are_spaced_out() {
        let mut history = CrashHistory::new(RestartPolicy::default());
        assert_eq!(history.decide(at(0)), Decision::Start);
        for (end, asked, expected) in [
            (0, 0, Decision::Start),
            (100, 100, wait(300)),
            (100, 300, wait(600)),
            (700, 800, wait(1_700)),
            (2_000, 2_001, wait(4_000)),
            (4_000, 9_000, Decision::Start),
        ] {
            history.record(at(end), "it crashed");
            assert_eq!(history.decide(at(asked)), expected, "after the end at {end} ms, asked at {asked} ms");
        }
    }

    #[test]
    fn a_crash_loop_is_given_up_and_tried_once_a_minute() {
        let mut history = CrashHistory::new(RestartPolicy::default());
        for end in 0..8 {
            assert!(!history.has_given_up());
            history.record(at(end * 3_000), format!("cause {end}"));
        }
        let Decision::GiveUp { reason, retry_at } = history.decide(at(21_001)) else { panic!("not given up") };
        assert_eq!(reason, "it ended 8 times within 120 s, the last time because cause 7");
        assert_eq!(retry_at, at(81_000));
        assert_eq!(history.decide(retry_at), Decision::Start);

        // It fails again, long enough after most of the others that they count no more: still given up.
        history.record(at(81_500), "the disk is full");
        history.record(at(141_600), "the disk is full");
        assert!(matches!(history.decide(at(141_700)), Decision::GiveUp { retry_at, .. } if retry_at == at(201_600)));
    }

    #[test]
    fn a_process_that_lived_long_enough_has_recovered() {
        let mut history = CrashHistory::new(RestartPolicy::default());
        for end in 0..8 {
            history.record(at(end), "it crashed");
        }
        assert!(history.has_given_up());
        history.record(at(7 + 120_000), "it was killed");
        assert!(!history.has_given_up());
        assert_eq!(history.decide(at(7 + 120_000)), Decision::Start);
    }

    #[test]
    fn rare_ends_are_no_crash_loop() {
        let mut history = CrashHistory::new(RestartPolicy::default());
        for end in 0..100 {
            history.record(at(end * 60_000), "it was killed");
            assert!(!history.has_given_up());
        }
    }
}
