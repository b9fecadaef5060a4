//! How long certificates are valid.

use mainstay_secrets_engine::{Fields, Refusal, go_duration};
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::role::Role;

/// From when until when, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// What happens to a certificate that would outlive its issuer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outliving {
    #[default]
    Err,
    Truncate,
    Permit,
}

/// What bounds a certificate's life beside its role.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub now: Timestamp,
    pub mount_default_seconds: u64,
    pub mount_max_seconds: u64,
    /// When the issuer's own certificate ends; none where it is being made.
    pub issuer: Option<(Timestamp, Outliving)>,
}

/// Decides, with warnings about what is not as asked for.
pub fn decide(role: &Role, fields: &Fields<'_>, bounds: Bounds) -> Result<(Validity, Vec<String>), Refusal> {
    let mut warnings = Vec::new();
    let asked = fields.seconds("ttl")?.unwrap_or(0);
    let not_after = Some(role.not_after.clone()).filter(|text| !text.is_empty());
    let not_after = not_after.or(fields.text("not_after")?.filter(|text| !text.is_empty()));
    if asked > 0 && not_after.is_some() {
        return Err(Refusal::invalid(
            "Either ttl or not_after should be provided. Both should not be provided in the same request.",
        ));
    }
    let first = |seconds: &[u64]| seconds.iter().copied().find(|seconds| *seconds > 0).unwrap_or(0);
    let longest = first(&[role.max_ttl, bounds.mount_max_seconds]);
    let mut seconds = first(&[asked, role.ttl, bounds.mount_default_seconds]);
    if seconds > longest {
        warnings.push(format!(
            "TTL {:?} is longer than permitted maxTTL {:?}, so maxTTL is being used",
            go_duration(seconds),
            go_duration(longest)
        ));
        seconds = longest;
    }
    let mut not_after = match not_after {
        Some(text) => text.parse::<Timestamp>().map_err(|error| Refusal::Invalid(error.to_string()))?.whole_seconds(),
        None => bounds.now.plus_seconds(seconds).whole_seconds(),
    };
    if let Some((issuer_ends, outliving)) = bounds.issuer
        && not_after > issuer_ends
    {
        match outliving {
            Outliving::Permit => {}
            Outliving::Truncate => not_after = issuer_ends,
            Outliving::Err => {
                return Err(Refusal::Invalid(format!(
                    "cannot satisfy request, as TTL would result in notAfter of {not_after} that is beyond the expiration of the CA certificate at {issuer_ends}"
                )));
            }
        }
    }
    let backdated = bounds.now.as_micros().saturating_sub(role.not_before_duration.saturating_mul(1_000_000) as i64);
    let not_before = Timestamp::from_micros(backdated.max(0)).whole_seconds();
    if not_before >= not_after {
        return Err(Refusal::Invalid(format!(
            "The certificate's Not Before ({not_before}) is later than the certificate's Not After ({not_after})"
        )));
    }
    Ok((Validity { not_before, not_after }, warnings))
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::Fields;
    use mainstay_types::Timestamp;
    use serde_json::{Value, json};

    use super::{Bounds, Outliving, decide};
    use crate::role::Role;

    const NOW: Timestamp = Timestamp::EPOCH.plus_seconds(1_000_000);
    const BOUNDS: Bounds = Bounds { now: NOW, mount_default_seconds: 100, mount_max_seconds: 1_000, issuer: None };

    fn seconds(role: &Role, fields: Value, bounds: Bounds) -> Result<(f64, usize), String> {
        let Value::Object(data) = fields else { unreachable!() };
        let decided = decide(role, &Fields::new(&data), bounds).map_err(|error| error.to_string());
        decided.map(|(validity, warnings)| (validity.not_after.seconds_since(NOW), warnings.len()))
    }

    #[test]
    fn the_nearest_bound_counts() {
        let plain = Role::default();
        let role = Role { ttl: 50, max_ttl: 200, ..Role::default() };
        assert_eq!(seconds(&plain, json!({}), BOUNDS), Ok((100.0, 0)));
        assert_eq!(seconds(&plain, json!({"ttl": "5m"}), BOUNDS), Ok((300.0, 0)));
        assert_eq!(seconds(&plain, json!({"ttl": "1h"}), BOUNDS), Ok((1_000.0, 1)));
        assert_eq!(seconds(&role, json!({}), BOUNDS), Ok((50.0, 0)));
        assert_eq!(seconds(&role, json!({"ttl": 300}), BOUNDS), Ok((200.0, 1)));
    }

    #[test]
    fn nothing_outlives_its_issuer_unless_the_issuer_says_so() {
        let role = Role::default();
        let ends = NOW.plus_seconds(60);
        let bounds = |outliving| Bounds { issuer: Some((ends, outliving)), ..BOUNDS };
        let refused = seconds(&role, json!({}), bounds(Outliving::Err)).unwrap_err();
        assert!(refused.starts_with("cannot satisfy request, as TTL would result in notAfter of 1970-01-12T13:48:20"));
        assert!(refused.contains("beyond the expiration of the CA certificate at 1970-01-12T13:47:40"), "{refused}");
        assert_eq!(seconds(&role, json!({}), bounds(Outliving::Truncate)), Ok((60.0, 0)));
        assert_eq!(seconds(&role, json!({}), bounds(Outliving::Permit)), Ok((100.0, 0)));
        assert_eq!(seconds(&role, json!({"ttl": 60}), bounds(Outliving::Err)), Ok((60.0, 0)));
    }

    #[test]
    fn an_end_may_be_given_as_a_time_but_not_with_a_duration() {
        let role = Role::default();
        assert_eq!(seconds(&role, json!({"not_after": "1970-01-12T13:46:50Z"}), BOUNDS), Ok((10.0, 0)));
        assert!(seconds(&role, json!({"not_after": "1970-01-12T13:46:50Z", "ttl": 5}), BOUNDS).is_err());
        assert!(seconds(&role, json!({"not_after": "soon"}), BOUNDS).is_err());
        assert!(seconds(&role, json!({"not_after": "1970-01-01T00:00:00Z"}), BOUNDS).is_err());
    }
}
