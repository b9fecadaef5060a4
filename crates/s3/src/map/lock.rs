//! Object lock.

use mainstay_bucket::{LegalHold, LockDefault, LockPeriod, ObjectLock, Retention, RetentionMode};
use mainstay_types::Timestamp;
use s3s::dto::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHoldStatus, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule,
};

use super::time::{moment, timestamp};
use crate::error::{Failure, Result};

/// What a request says of a version's retention: both or none.
pub fn retention(mode: Option<&str>, until: Option<&s3s::dto::Timestamp>) -> Result<Option<Retention>> {
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => Ok(Some(Retention::new(self::mode(mode)?, moment(until)?, Timestamp::now())?)),
        _ => {
            let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            Err(Failure::invalid_argument(message))
        }
    }
}

fn mode(text: &str) -> Result<RetentionMode> {
    match text {
        "GOVERNANCE" => Ok(RetentionMode::Governance),
        "COMPLIANCE" => Ok(RetentionMode::Compliance),
        _ => Err(Failure::malformed_xml("The retention mode is unknown: use GOVERNANCE or COMPLIANCE")),
    }
}

pub fn legal_hold(status: Option<&ObjectLockLegalHoldStatus>) -> Result<LegalHold> {
    match status.map(ObjectLockLegalHoldStatus::as_str) {
        None | Some("OFF") => Ok(LegalHold::Off),
        Some("ON") => Ok(LegalHold::On),
        Some(_) => Err(Failure::malformed_xml("The legal hold is unknown: use ON or OFF")),
    }
}

pub fn retention_told(retention: &Retention) -> ObjectLockRetention {
    ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(retention.mode.as_str())),
        retain_until_date: Some(timestamp(retention.until)),
    }
}

pub fn lock_configuration(configuration: ObjectLockConfiguration) -> Result<ObjectLock> {
    if configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some("Enabled") {
        return Err(Failure::malformed_xml("ObjectLockEnabled must be Enabled"));
    }
    let Some(rule) = configuration.rule else { return Ok(ObjectLock::default()) };
    let default = rule.default_retention.ok_or_else(|| Failure::malformed_xml("The rule has no default retention"))?;
    let mode = mode(default.mode.as_ref().map(ObjectLockRetentionMode::as_str).unwrap_or_default())?;
    let positive = |number: i32| {
        let invalid = || {
            let message = "Default retention period must be a positive integer value.";
            Failure::custom("InvalidRetentionPeriod", hyper::StatusCode::BAD_REQUEST, message)
        };
        u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(invalid)
    };
    let period = match (default.days, default.years) {
        (Some(days), None) => LockPeriod::Days(positive(days)?),
        (None, Some(years)) => LockPeriod::Years(positive(years)?),
        _ => return Err(Failure::malformed_xml("A default retention has either days or years")),
    };
    let default = LockDefault::new(mode, period).map_err(|error| {
        Failure::custom("InvalidRetentionPeriod", hyper::StatusCode::BAD_REQUEST, error.to_string())
    })?;
    Ok(ObjectLock { default: Some(default) })
}

pub fn lock_told(lock: &ObjectLock) -> ObjectLockConfiguration {
    let number = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let rule = lock.default.map(|default| {
        let (days, years) = match default.period {
            LockPeriod::Days(days) => (number(days), None),
            LockPeriod::Years(years) => (None, number(years)),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(default.mode.as_str()));
        ObjectLockRule { default_retention: Some(DefaultRetention { days, mode, years }) }
    });
    ObjectLockConfiguration { object_lock_enabled: Some(ObjectLockEnabled::from_static("Enabled")), rule }
}
