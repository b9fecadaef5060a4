//! An instance is to be backed up and drilled otherwise.

use std::ops::RangeInclusive;

use mainstay_types::{Assertion, InstanceName, TenantName};

use super::{Context, Decision, Rejection};
use crate::event::{RecoveryPolicyChanged, Subject, SubjectKind};
use crate::view::View;

/// How often a backup or a drill may be: a minute is what a small one takes, a year is longer than anybody should trust one.
const EVERY_SECONDS: RangeInclusive<u64> = 60..=366 * 24 * 3_600;
/// The most backups of each kind that are kept.
const MOST_KEPT: u32 = 1_000;
/// The most assertions, and the most bytes that they may have together: they are in an event and in the view.
const MOST_ASSERTIONS: usize = 50;
const MOST_ASSERTION_BYTES: usize = 16 << 10;

/// Says how an instance is backed up, what is kept of it, and what its drills look at.
#[derive(Debug, Clone, PartialEq)]
pub struct SetRecoveryPolicy {
    pub tenant: TenantName,
    pub name: InstanceName,
    pub policy: RecoveryPolicyChanged,
}

impl SetRecoveryPolicy {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if view.instance(&self.tenant, &self.name).is_none() {
            return Err(Rejection::InstanceNotFound { name: self.name.clone() });
        }
        self.refuse_impossible()?;
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        Ok(Decision::of(vec![context.event(Some(self.tenant.clone()), subject, self.policy.clone())]))
    }

    fn refuse_impossible(&self) -> Result<(), Rejection> {
        let refuse = |field, expected: String| Err(Rejection::InvalidRecoveryPolicy { field, expected });
        let policy = &self.policy;
        for (field, every) in
            [("backup_every_seconds", policy.backup_every_seconds), ("drill_every_seconds", policy.drill_every_seconds)]
        {
            if every.is_some_and(|every| !EVERY_SECONDS.contains(&every)) {
                return refuse(field, format!("{} to {} seconds", EVERY_SECONDS.start(), EVERY_SECONDS.end()));
            }
        }
        let kept = [policy.keep_daily, policy.keep_weekly, policy.keep_monthly, policy.keep_last];
        if kept.iter().flatten().any(|kept| *kept > MOST_KEPT) {
            return refuse("keep", format!("at most {MOST_KEPT} of each kind"));
        }
        if policy.keep_last == Some(0) {
            return refuse("keep_last", "1 or more, so that there is always one to restore".to_owned());
        }
        check_assertions(&policy.assertions).or_else(|expected| refuse("assertions", expected))
    }
}

/// Whether these can be what drills ask, and if not, what can.
pub(super) fn check_assertions(assertions: &[Assertion]) -> Result<(), String> {
    let bytes: usize = assertions.iter().map(|each| each.query.len() + each.expect.len()).sum();
    if assertions.len() > MOST_ASSERTIONS || bytes > MOST_ASSERTION_BYTES {
        return Err(format!("at most {MOST_ASSERTIONS}, of together {MOST_ASSERTION_BYTES} bytes"));
    }
    match assertions.iter().any(|each| each.query.trim().is_empty()) {
        true => Err("assertions that ask something".to_owned()),
        false => Ok(()),
    }
}
