//! How long a token or a lease serves, and what is to be done about it.

use std::time::{Duration, Instant};

/// The time for which something was granted.
#[derive(Debug, Clone)]
pub(super) struct Term {
    granted: Instant,
    length: Duration,
    /// What was granted at first. A renewal that gives clearly less has met the longest life allowed.
    first: Duration,
    renewable: bool,
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    Renew,
    /// Get another: this one ends and cannot be renewed.
    Replace,
}

// === impl Term ===

impl Term {
    /// Nothing where what was granted has no end.
    pub fn new(granted: Instant, seconds: u64, renewable: bool) -> Option<Self> {
        let length = Duration::from_secs(seconds);
        (seconds > 0).then_some(Self { granted, length, first: length, renewable, refused: false })
    }

    pub fn renewed(&mut self, now: Instant, seconds: u64) {
        (self.granted, self.length) = (now, Duration::from_secs(seconds));
    }

    /// A renewal was refused, and not just unanswered.
    pub fn refused(&mut self) {
        self.refused = true;
    }

    pub fn step(&self, now: Instant) -> Step {
        match (now < self.due(), self.can_be_renewed() && now < self.granted + self.length) {
            (true, _) => Step::Keep,
            (false, true) => Step::Renew,
            (false, false) => Step::Replace,
        }
    }

    /// When something is to be done: at two thirds where a renewal does, else a tenth before the end, so that the next one
    /// is in place before this one is gone.
    pub fn due(&self) -> Instant {
        match (self.refused, self.can_be_renewed()) {
            (true, _) => self.granted,
            (_, true) => self.granted + self.length * 2 / 3,
            (_, false) => self.granted + self.length * 9 / 10,
        }
    }

    fn can_be_renewed(&self) -> bool {
        self.renewable && !self.refused && self.length >= self.first * 9 / 10
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Step, Term};

    #[test]
    fn a_term_is_renewed_at_two_thirds_and_replaced_before_its_end() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let term = |renewable| Term::new(begun, 90, renewable).unwrap();
        let cases = [
            (
                term(true),
                [(0, Step::Keep), (59, Step::Keep), (60, Step::Renew), (89, Step::Renew), (90, Step::Replace)],
            ),
            (
                term(false),
                [(0, Step::Keep), (60, Step::Keep), (80, Step::Keep), (81, Step::Replace), (99, Step::Replace)],
            ),
        ];
        for (term, steps) in cases {
            for (seconds, step) in steps {
                assert_eq!(term.step(at(seconds)), step, "{seconds} of {term:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_renewed_any_further_is_replaced() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut term = Term::new(begun, 90, true).unwrap();
        term.renewed(at(60), 90);
        assert_eq!((term.step(at(119)), term.step(at(120))), (Step::Keep, Step::Renew));
        // The longest life allowed is near.
        term.renewed(at(120), 40);
        assert_eq!((term.step(at(155)), term.step(at(156))), (Step::Keep, Step::Replace));

        let mut term = Term::new(begun, 90, true).unwrap();
        term.refused();
        assert_eq!(term.step(at(1)), Step::Replace);
        assert!(Term::new(begun, 0, false).is_none(), "a root token has no end");
    }
}
