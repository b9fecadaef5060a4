//! Object lock: versions that nobody may remove before their time.

use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

/// That a bucket can lock its objects. Once it is on, it stays, and versioning with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ObjectLock {
    /// What a new version gets where its put says nothing.
    #[n(0)]
    pub default: Option<LockDefault>,
}

/// How long new versions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LockDefault {
    #[n(0)]
    pub mode: RetentionMode,
    #[n(1)]
    pub period: LockPeriod,
}

/// A time from the moment that a version is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum LockPeriod {
    #[n(0)]
    Days(#[n(0)] u32),
    #[n(1)]
    Years(#[n(0)] u32),
}

/// Until when a version is kept, and how firmly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Retention {
    #[n(0)]
    pub mode: RetentionMode,
    #[n(1)]
    pub until: Timestamp,
}

/// How firmly a version is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RetentionMode {
    /// Whoever may `s3:BypassGovernanceRetention`, and says so, may remove it.
    #[n(0)]
    Governance,
    /// Nobody may remove it, whoever it is.
    #[n(1)]
    Compliance,
}

/// Whether a version is kept until somebody says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LegalHold {
    #[default]
    #[n(0)]
    Off,
    #[n(1)]
    On,
}

/// Why a version stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    #[error("the version is under a legal hold")]
    LegalHold,
    #[error("the version is kept until {until} in compliance mode, which nobody can shorten")]
    Compliance { until: Timestamp },
    #[error("the version is kept until {until} in governance mode, and the request does not bypass it")]
    Governance { until: Timestamp },
}

/// Why a lock's configuration or a retention was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLock {
    #[error("the default retention is for {0}: give it at least one day, and 100 years at most")]
    Period(LockPeriod),
    #[error("the time to keep the version until has passed already")]
    Past,
}

/// The years that a retention may last: longer than anybody keeps anything, short of where calendars end.
const LONGEST_YEARS: u32 = 100;
const LONGEST_DAYS: u32 = LONGEST_YEARS * 365;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Whether a version may be removed.
///
/// `bypass` is whether the request says `x-amz-bypass-governance-retention` and its sender may.
pub fn may_delete(retention: Option<&Retention>, hold: LegalHold, bypass: bool, now: Timestamp) -> Result<(), Locked> {
    if hold == LegalHold::On {
        return Err(Locked::LegalHold);
    }
    match retention {
        Some(Retention { mode: RetentionMode::Compliance, until }) if now < *until => {
            Err(Locked::Compliance { until: *until })
        }
        Some(Retention { mode: RetentionMode::Governance, until }) if now < *until && !bypass => {
            Err(Locked::Governance { until: *until })
        }
        _ => Ok(()),
    }
}

/// Whether a version's retention may become another: it may always get longer, and is changed otherwise by whoever may
/// remove the version. That is so for a firmer mode too, since nobody could take it back.
pub fn may_change(
    current: Option<&Retention>,
    new: Option<&Retention>,
    bypass: bool,
    now: Timestamp,
) -> Result<(), Locked> {
    let firm = current.filter(|current| now < current.until);
    let Some(current) = firm else { return Ok(()) };
    let extends = new.is_some_and(|new| new.mode == current.mode && new.until >= current.until);
    if extends { Ok(()) } else { may_delete(Some(current), LegalHold::Off, bypass, now) }
}

impl Retention {
    /// A retention that is put now.
    pub fn new(mode: RetentionMode, until: Timestamp, now: Timestamp) -> Result<Self, InvalidLock> {
        if until <= now { Err(InvalidLock::Past) } else { Ok(Self { mode, until }) }
    }
}

impl LockDefault {
    /// A default that is put.
    pub fn new(mode: RetentionMode, period: LockPeriod) -> Result<Self, InvalidLock> {
        let fits = match period {
            LockPeriod::Days(days) => (1..=LONGEST_DAYS).contains(&days),
            LockPeriod::Years(years) => (1..=LONGEST_YEARS).contains(&years),
        };
        if fits { Ok(Self { mode, period }) } else { Err(InvalidLock::Period(period)) }
    }

    /// What a version that is put now gets.
    pub fn retention(&self, now: Timestamp) -> Retention {
        let days = match self.period {
            LockPeriod::Days(days) => u64::from(days),
            LockPeriod::Years(years) => u64::from(years) * 365,
        };
        Retention { mode: self.mode, until: now.plus_seconds(days * DAY_SECONDS) }
    }
}

impl RetentionMode {
    /// Its name in S3's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl LegalHold {
    /// Its name in S3's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::On => "ON",
        }
    }
}

impl std::fmt::Display for LockPeriod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days} days"),
            Self::Years(years) => write!(f, "{years} years"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::{
        LegalHold, LockDefault, LockPeriod, Retention, RetentionMode, RetentionMode::Compliance,
        RetentionMode::Governance, may_change, may_delete,
    };

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn retention(mode: RetentionMode, seconds: u64) -> Retention {
        Retention { mode, until: Timestamp::EPOCH.plus_seconds(seconds) }
    }

    #[test]
    fn deletion() {
        let cases = [
            (None, LegalHold::Off, false, true),
            (None, LegalHold::On, true, false),
            (Some(retention(Governance, 2)), LegalHold::Off, false, false),
            (Some(retention(Governance, 2)), LegalHold::Off, true, true),
            (Some(retention(Governance, 2)), LegalHold::On, true, false),
            (Some(retention(Compliance, 2)), LegalHold::Off, true, false),
            // Its time is over.
            (Some(retention(Compliance, 1)), LegalHold::Off, false, true),
            (Some(retention(Governance, 1)), LegalHold::Off, false, true),
        ];
        for (retention, hold, bypass, allowed) in cases {
            let answer = may_delete(retention.as_ref(), hold, bypass, NOW);
            assert_eq!(answer.is_ok(), allowed, "{retention:?} {hold:?} {bypass}");
        }
    }

    #[test]
    fn changes() {
        let cases = [
            (None, Some(retention(Compliance, 5)), false, true),
            (Some(retention(Governance, 3)), Some(retention(Governance, 5)), false, true),
            (Some(retention(Governance, 5)), Some(retention(Governance, 3)), false, false),
            (Some(retention(Governance, 5)), Some(retention(Governance, 3)), true, true),
            (Some(retention(Governance, 5)), None, false, false),
            (Some(retention(Governance, 5)), None, true, true),
            (Some(retention(Governance, 5)), Some(retention(Compliance, 5)), false, false),
            (Some(retention(Governance, 5)), Some(retention(Compliance, 5)), true, true),
            (Some(retention(Compliance, 5)), Some(retention(Governance, 5)), true, false),
            (Some(retention(Compliance, 5)), Some(retention(Compliance, 4)), true, false),
            (Some(retention(Compliance, 5)), Some(retention(Compliance, 6)), false, true),
            (Some(retention(Compliance, 5)), None, true, false),
            (Some(retention(Compliance, 1)), None, false, true),
        ];
        for (current, new, bypass, allowed) in cases {
            let answer = may_change(current.as_ref(), new.as_ref(), bypass, NOW);
            assert_eq!(answer.is_ok(), allowed, "{current:?} {new:?} {bypass}");
        }
    }

    #[test]
    fn a_default_counts_days_from_the_put() {
        let default = LockDefault::new(Governance, LockPeriod::Days(2)).unwrap();
        assert_eq!(default.retention(NOW), retention(Governance, 2 * 86_400 + 1));
        assert!(LockDefault::new(Governance, LockPeriod::Years(1)).is_ok());
        for period in [LockPeriod::Days(0), LockPeriod::Years(0), LockPeriod::Years(101), LockPeriod::Days(u32::MAX)] {
            assert!(LockDefault::new(Compliance, period).is_err(), "{period} should be refused");
        }
        assert!(Retention::new(Governance, NOW, NOW).is_err());
    }

    proptest! {
        /// Whatever is asked, in whatever order: what compliance protects stays protected until its time.
        #[test]
        fn compliance_is_never_weakened(
            asked in proptest::collection::vec(
                (prop_oneof![Just(None), (any::<bool>(), 0_u64..20).prop_map(Some)], any::<bool>()), 0..20),
        ) {
            let first = retention(Compliance, 10);
            let mut current = Some(first);
            for (new, bypass) in asked {
                let new = new.map(|(firm, until)| retention(if firm { Compliance } else { Governance }, until));
                if may_change(current.as_ref(), new.as_ref(), bypass, NOW).is_ok() {
                    current = new;
                }
                prop_assert!(current.is_some_and(|now| now.mode == Compliance && now.until >= first.until));
                prop_assert!(may_delete(current.as_ref(), LegalHold::Off, bypass, NOW).is_err());
            }
        }
    }
}
