//! Lifecycle rules.

use mainstay_bucket::Tags;
use mainstay_bucket::lifecycle::{Expiration, Filter, Lifecycle, NoncurrentExpiration, Rule};
use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag,
};

use super::tags::{pairs, tags_told};
use super::time::{moment, timestamp};
use crate::error::{Failure, Result};

pub fn lifecycle(configuration: BucketLifecycleConfiguration) -> Result<Lifecycle> {
    let rules = configuration.rules.into_iter().map(rule).collect::<Result<_>>()?;
    Lifecycle::new(rules).map_err(|error| {
        let message = error.to_string();
        if error.is_argument() { Failure::invalid_argument(message) } else { Failure::malformed_xml(message) }
    })
}

fn rule(rule: LifecycleRule) -> Result<Rule> {
    if rule.transitions.is_some() || rule.noncurrent_version_transitions.is_some() {
        return Err(Failure::not_implemented("transitions: there is one storage class"));
    }
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(Failure::malformed_xml("The status of a rule is Enabled or Disabled")),
    };
    let abort = rule.abort_incomplete_multipart_upload.and_then(|abort| abort.days_after_initiation);
    Ok(Rule {
        id: rule.id.unwrap_or_default(),
        enabled,
        filter: filter(rule.filter, rule.prefix)?,
        expiration: rule.expiration.map(expiration).transpose()?,
        noncurrent: rule.noncurrent_version_expiration.map(noncurrent).transpose()?,
        abort_uploads_after_days: abort.map(count).transpose()?,
    })
}

/// What is negative is refused as not positive by whoever reads the rule.
fn count(number: i32) -> Result<u32> {
    u32::try_from(number).map_err(|_| Failure::invalid_argument("Days and versions in a rule are positive"))
}

fn bytes(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Failure::invalid_argument("Sizes in a rule are not negative"))
}

fn filter(filter: Option<LifecycleRuleFilter>, prefix: Option<String>) -> Result<Filter> {
    let Some(filter) = filter else {
        let prefix = prefix.ok_or_else(|| Failure::malformed_xml("A rule has a filter or a prefix"))?;
        return Ok(Filter { prefix: Some(prefix), old_form: true, ..Filter::default() });
    };
    if prefix.is_some() {
        return Err(Failure::malformed_xml("A rule has a filter or a prefix, not both"));
    }
    let alone = [
        filter.and.is_some(),
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    if alone.into_iter().filter(|given| *given).count() > 1 {
        return Err(Failure::malformed_xml("A filter has one condition; several stand in And"));
    }
    let and = filter.and.unwrap_or(LifecycleRuleAndOperator {
        prefix: filter.prefix,
        tags: filter.tag.map(|tag| vec![tag]),
        object_size_greater_than: filter.object_size_greater_than,
        object_size_less_than: filter.object_size_less_than,
    });
    Ok(Filter {
        prefix: and.prefix,
        tags: Tags::of_object(pairs(and.tags.unwrap_or_default())?)?,
        larger_than: and.object_size_greater_than.map(bytes).transpose()?,
        smaller_than: and.object_size_less_than.map(bytes).transpose()?,
        old_form: false,
    })
}

fn expiration(expiration: LifecycleExpiration) -> Result<Expiration> {
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(days), None, None) => Ok(Expiration::Days(count(days)?)),
        (None, Some(date), None) => Ok(Expiration::Date(moment(&date)?)),
        (None, None, Some(wanted)) => Ok(Expiration::LoneDeleteMarkers(wanted)),
        _ => Err(Failure::malformed_xml("An expiration has days, a date or ExpiredObjectDeleteMarker")),
    }
}

fn noncurrent(noncurrent: NoncurrentVersionExpiration) -> Result<NoncurrentExpiration> {
    let days = noncurrent.noncurrent_days.ok_or_else(|| Failure::malformed_xml("NoncurrentDays is missing"))?;
    Ok(NoncurrentExpiration { days: count(days)?, keep: noncurrent.newer_noncurrent_versions.map(count).transpose()? })
}

pub fn lifecycle_told(lifecycle: &Lifecycle) -> Vec<LifecycleRule> {
    lifecycle.iter().map(rule_told).collect()
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn rule_told(rule: &Rule) -> LifecycleRule {
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    let old_form = rule.filter.old_form;
    LifecycleRule {
        id: Some(rule.id.clone()),
        status: ExpirationStatus::from_static(status),
        prefix: rule.filter.prefix.clone().filter(|_| old_form),
        filter: (!old_form).then(|| filter_told(&rule.filter)),
        expiration: rule.expiration.map(|expiration| match expiration {
            Expiration::Days(days) => LifecycleExpiration { days: Some(number(days)), ..Default::default() },
            Expiration::Date(date) => LifecycleExpiration { date: Some(timestamp(date)), ..Default::default() },
            Expiration::LoneDeleteMarkers(wanted) => {
                LifecycleExpiration { expired_object_delete_marker: Some(wanted), ..Default::default() }
            }
        }),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            noncurrent_days: Some(number(noncurrent.days)),
            newer_noncurrent_versions: noncurrent.keep.map(number),
        }),
        abort_incomplete_multipart_upload: rule
            .abort_uploads_after_days
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }),
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

fn filter_told(filter: &Filter) -> LifecycleRuleFilter {
    let size = |bytes: Option<u64>| bytes.map(super::size);
    let conditions = usize::from(filter.prefix.is_some())
        + filter.tags.len()
        + usize::from(filter.larger_than.is_some())
        + usize::from(filter.smaller_than.is_some());
    if conditions > 1 {
        let and = LifecycleRuleAndOperator {
            prefix: filter.prefix.clone(),
            tags: (!filter.tags.is_empty()).then(|| tags_told(&filter.tags)),
            object_size_greater_than: size(filter.larger_than),
            object_size_less_than: size(filter.smaller_than),
        };
        return LifecycleRuleFilter { and: Some(and), ..Default::default() };
    }
    LifecycleRuleFilter {
        prefix: filter.prefix.clone(),
        tag: filter
            .tags
            .iter()
            .next()
            .map(|(key, value)| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }),
        object_size_greater_than: size(filter.larger_than),
        object_size_less_than: size(filter.smaller_than),
        ..Default::default()
    }
}
