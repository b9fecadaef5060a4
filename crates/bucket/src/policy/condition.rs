//! The conditions of a statement.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use mainstay_types::Timestamp;

use super::pattern::Pattern;
use super::request::{Caller, Request};

/// One operator over one key: true where the request's value is one of those given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    key: Key,
    test: Test,
    /// `...IfExists`: true also where the request has no such value.
    if_exists: bool,
    /// `ForAllValues:` or `ForAnyValue:`, for a key with several values.
    set: Option<Set>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    All,
    Any,
}

/// What of a request is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    SourceIp,
    SecureTransport,
    CurrentTime,
    EpochTime,
    PrincipalAccount,
    UserId,
    Prefix,
    Delimiter,
    MaxKeys,
    VersionId,
    ExistingObjectTag(String),
    RequestObjectTag(String),
    RequestObjectTagKeys,
    RemainingRetentionDays,
    /// A header of the request, by its name in lowercase.
    Header(&'static str),
}

/// How the request's value is compared.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text {
        negated: bool,
        /// The values are in lowercase then.
        ignore_case: bool,
        values: Vec<String>,
    },
    Like {
        negated: bool,
        patterns: Vec<Pattern>,
    },
    Number {
        comparison: Comparison,
        values: Vec<f64>,
    },
    Date {
        comparison: Comparison,
        values: Vec<Timestamp>,
    },
    Bool(Vec<bool>),
    Network {
        negated: bool,
        networks: Vec<IpNet>,
    },
    /// Whether there is no such value.
    Null(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Keys that are headers: what policies call them, and the header.
const HEADERS: [(&str, &str); 24] = [
    ("aws:useragent", "user-agent"),
    ("aws:referer", "referer"),
    ("s3:x-amz-acl", "x-amz-acl"),
    ("s3:x-amz-copy-source", "x-amz-copy-source"),
    ("s3:x-amz-metadata-directive", "x-amz-metadata-directive"),
    ("s3:x-amz-server-side-encryption", "x-amz-server-side-encryption"),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-aws-kms-key-id"),
    ("s3:x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-algorithm"),
    ("s3:x-amz-storage-class", "x-amz-storage-class"),
    ("s3:x-amz-website-redirect-location", "x-amz-website-redirect-location"),
    ("s3:x-amz-content-sha256", "x-amz-content-sha256"),
    ("s3:x-amz-object-ownership", "x-amz-object-ownership"),
    ("s3:x-amz-grant-full-control", "x-amz-grant-full-control"),
    ("s3:x-amz-grant-read", "x-amz-grant-read"),
    ("s3:x-amz-grant-read-acp", "x-amz-grant-read-acp"),
    ("s3:x-amz-grant-write", "x-amz-grant-write"),
    ("s3:x-amz-grant-write-acp", "x-amz-grant-write-acp"),
    ("s3:object-lock-mode", "x-amz-object-lock-mode"),
    ("s3:object-lock-retain-until-date", RETAIN_UNTIL),
    ("s3:object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
    ("s3:if-match", "if-match"),
    ("s3:if-none-match", "if-none-match"),
    ("s3:x-amz-request-payer", "x-amz-request-payer"),
    ("s3:x-amz-tagging-directive", "x-amz-tagging-directive"),
];

const RETAIN_UNTIL: &str = "x-amz-object-lock-retain-until-date";

impl Condition {
    /// Reads one operator, the key it is applied to, and the values as text.
    pub(super) fn parse(operator: &str, key: &str, values: &[String]) -> Result<Self, String> {
        let (set, operator) = match operator.split_once(':') {
            None => (None, operator),
            Some(("ForAllValues", rest)) => (Some(Set::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Set::Any), rest),
            Some((other, _)) => return Err(format!("there is no condition qualifier {other:?}")),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(bare) if bare != "Null" => (bare, true),
            _ => (operator, false),
        };
        if values.is_empty() {
            return Err(format!("the condition on {key:?} has no value"));
        }
        if let Some(value) = values.iter().find(|value| value.contains("${")) {
            return Err(format!("the value {value:?} has a policy variable, which is not supported"));
        }
        Ok(Self { key: Key::parse(key)?, test: Test::parse(operator, values)?, if_exists, set })
    }

    /// Whether it is true of a request.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let values = self.key.values(request);
        match (&self.test, values.is_empty(), self.set) {
            (Test::Null(wanted), absent, _) => *wanted == absent,
            (_, true, _) if self.if_exists => true,
            // Amazon's rules for what is not there: all of nothing is so, none of nothing is so, and nothing is unlike
            // whatever is named.
            (_, true, Some(Set::All)) => true,
            (_, true, Some(Set::Any)) => false,
            (test, true, None) => test.is_negated(),
            (test, false, Some(Set::Any)) => values.iter().any(|value| test.holds(value)),
            (test, false, _) => values.iter().all(|value| test.holds(value)),
        }
    }

    pub(super) fn asks_for_existing_tags(&self) -> bool {
        matches!(self.key, Key::ExistingObjectTag(_))
    }

    /// Whether it leaves only callers that somebody has named: networks short of the whole internet, or accounts.
    pub(super) fn names_callers(&self) -> bool {
        if self.if_exists {
            return false;
        }
        match (&self.key, &self.test) {
            (Key::SourceIp, Test::Network { negated: false, networks }) => {
                networks.iter().all(|network| network.prefix_len() >= if network.addr().is_ipv4() { 8 } else { 32 })
            }
            (Key::PrincipalAccount | Key::UserId, Test::Text { negated: false, .. }) => true,
            _ => false,
        }
    }
}

impl Key {
    fn parse(name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        // The keys of tags keep their case.
        let tag = |prefix: &str| lower.starts_with(prefix).then(|| name[prefix.len()..].to_owned());
        if let Some(tag) = tag("s3:existingobjecttag/") {
            return Ok(Self::ExistingObjectTag(tag));
        }
        if let Some(tag) = tag("s3:requestobjecttag/") {
            return Ok(Self::RequestObjectTag(tag));
        }
        Ok(match lower.as_str() {
            "aws:sourceip" => Self::SourceIp,
            "aws:securetransport" => Self::SecureTransport,
            "aws:currenttime" => Self::CurrentTime,
            "aws:epochtime" => Self::EpochTime,
            "aws:principalaccount" => Self::PrincipalAccount,
            "aws:userid" | "aws:username" => Self::UserId,
            "s3:prefix" => Self::Prefix,
            "s3:delimiter" => Self::Delimiter,
            "s3:max-keys" => Self::MaxKeys,
            "s3:versionid" => Self::VersionId,
            "s3:requestobjecttagkeys" => Self::RequestObjectTagKeys,
            "s3:object-lock-remaining-retention-days" => Self::RemainingRetentionDays,
            other => match HEADERS.iter().find(|(key, _)| *key == other) {
                Some((_, header)) => Self::Header(header),
                None => return Err(format!("there is no condition key {name:?} here")),
            },
        })
    }

    /// The request's values, as text; none where it has none.
    fn values<'a>(&self, request: &Request<'a>) -> Vec<Cow<'a, str>> {
        let context = request.context;
        let header = |name: &str| context.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value);
        let account = match request.caller {
            Caller::Account { instance, access_key } => Some((instance, access_key)),
            Caller::Anonymous => None,
        };
        let value: Option<Cow<'a, str>> = match self {
            Self::SourceIp => Some(context.source_ip.to_string().into()),
            Self::SecureTransport => Some(context.secure.to_string().into()),
            Self::CurrentTime => Some(context.now.to_string().into()),
            Self::EpochTime => Some(context.now.as_micros().div_euclid(1_000_000).to_string().into()),
            Self::PrincipalAccount => account.map(|(instance, _)| instance.as_str().into()),
            Self::UserId => account.map(|(_, access_key)| access_key.into()),
            Self::Prefix => context.prefix.map(Cow::from),
            Self::Delimiter => context.delimiter.map(Cow::from),
            Self::MaxKeys => context.max_keys.map(|keys| keys.to_string().into()),
            Self::VersionId => context.version_id.map(Cow::from),
            Self::ExistingObjectTag(tag) => context.existing_tags.and_then(|tags| tags.get(tag)).map(Cow::from),
            Self::RequestObjectTag(tag) => context.request_tags.and_then(|tags| tags.get(tag)).map(Cow::from),
            Self::RequestObjectTagKeys => {
                return context
                    .request_tags
                    .into_iter()
                    .flat_map(|tags| tags.iter())
                    .map(|(key, _)| key.into())
                    .collect();
            }
            Self::RemainingRetentionDays => header(RETAIN_UNTIL)
                .and_then(|until| until.parse::<Timestamp>().ok())
                .map(|until| (until.seconds_since(context.now) / DAY_SECONDS).ceil().to_string().into()),
            Self::Header(name) => header(name).map(Cow::from),
        };
        value.into_iter().collect()
    }
}

const DAY_SECONDS: f64 = 24.0 * 60.0 * 60.0;

impl Test {
    fn parse(operator: &str, values: &[String]) -> Result<Self, String> {
        let text = |negated, ignore_case| {
            let value = |value: &String| if ignore_case { value.to_lowercase() } else { value.clone() };
            Self::Text { negated, ignore_case, values: values.iter().map(value).collect() }
        };
        let like = |negated| Self::Like { negated, patterns: values.iter().map(|value| Pattern::new(value)).collect() };
        Ok(match operator {
            "StringEquals" => text(false, false),
            "StringNotEquals" => text(true, false),
            "StringEqualsIgnoreCase" => text(false, true),
            "StringNotEqualsIgnoreCase" => text(true, true),
            "StringLike" => like(false),
            "StringNotLike" => like(true),
            "Bool" => Self::Bool(each(values, "`true` or `false`", boolean)?),
            "IpAddress" | "NotIpAddress" => Self::Network {
                negated: operator == "NotIpAddress",
                networks: each(values, "an address or network", network)?,
            },
            "Null" => match each(values, "`true` or `false`", boolean)?.as_slice() {
                [wanted] => Self::Null(*wanted),
                _ => return Err("`Null` takes one value".to_owned()),
            },
            _ => {
                let compared = |prefix: &str| operator.strip_prefix(prefix).and_then(Comparison::parse);
                if let Some(comparison) = compared("Numeric") {
                    Self::Number { comparison, values: each(values, "a number", |value| value.parse().ok())? }
                } else if let Some(comparison) = compared("Date") {
                    Self::Date { comparison, values: each(values, "a time in ISO 8601", date)? }
                } else {
                    return Err(format!("there is no condition operator {operator:?} here"));
                }
            }
        })
    }

    fn is_negated(&self) -> bool {
        match self {
            Self::Text { negated, .. } | Self::Like { negated, .. } | Self::Network { negated, .. } => *negated,
            Self::Number { comparison, .. } | Self::Date { comparison, .. } => *comparison == Comparison::NotEqual,
            Self::Bool(_) | Self::Null(_) => false,
        }
    }

    fn holds(&self, found: &str) -> bool {
        match self {
            Self::Text { negated, ignore_case: true, values } => values.contains(&found.to_lowercase()) != *negated,
            Self::Text { negated, ignore_case: false, values } => values.iter().any(|value| value == found) != *negated,
            Self::Like { negated, patterns } => patterns.iter().any(|pattern| pattern.matches(found)) != *negated,
            Self::Number { comparison, values } => {
                found.parse::<f64>().is_ok_and(|found| comparison.holds(&found, values))
            }
            Self::Date { comparison, values } => date(found).is_some_and(|found| comparison.holds(&found, values)),
            Self::Bool(values) => boolean(found).is_some_and(|found| values.contains(&found)),
            Self::Network { negated, networks } => found.parse::<IpAddr>().is_ok_and(|address| {
                // A listener for both families tells an IPv4 client as `::ffff:192.0.2.1`.
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address)) != *negated
            }),
            Self::Null(_) => false,
        }
    }
}

impl Comparison {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Equals" => Self::Equal,
            "NotEquals" => Self::NotEqual,
            "LessThan" => Self::Less,
            "LessThanEquals" => Self::LessOrEqual,
            "GreaterThan" => Self::Greater,
            "GreaterThanEquals" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Whether it is true of one of the values; that they differ, of all.
    fn holds<T: PartialOrd>(self, found: &T, values: &[T]) -> bool {
        match self {
            Self::Equal => values.iter().any(|value| found == value),
            Self::NotEqual => values.iter().all(|value| found != value),
            Self::Less => values.iter().any(|value| found < value),
            Self::LessOrEqual => values.iter().any(|value| found <= value),
            Self::Greater => values.iter().any(|value| found > value),
            Self::GreaterOrEqual => values.iter().any(|value| found >= value),
        }
    }
}

fn each<T>(values: &[String], what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    values.iter().map(|value| read(value).ok_or_else(|| format!("{value:?} is not {what}"))).collect()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A moment in RFC 3339, a day, or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    let seconds = || text.parse::<i64>().ok()?.checked_mul(1_000_000).map(Timestamp::from_micros);
    text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok()).or_else(seconds)
}
