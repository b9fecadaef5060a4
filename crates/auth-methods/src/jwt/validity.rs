//! When a token is valid: `exp`, `nbf` and `iat` with the leeways that Vault documents.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How far clocks may be apart, in seconds. 0 means the default, less than 0 means not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Leeways {
    /// Added to `iat` or `nbf` where there is no `exp`.
    pub expiration: i64,
    /// Taken from `exp` where there is neither `nbf` nor `iat`.
    pub not_before: i64,
    /// Granted to all three.
    pub clock_skew: i64,
}

const DEFAULT_EXPIRATION: i64 = 150;
const DEFAULT_NOT_BEFORE: i64 = 150;
const DEFAULT_CLOCK_SKEW: i64 = 60;

/// Whether a token is valid now, in seconds since the epoch. A claim that is 0 is a claim that is missing; one of the
/// three has to be there.
pub(super) fn check(claims: &Map<String, Value>, leeways: Leeways, now: f64) -> Result<(), String> {
    let (issued_at, not_before, expiry) = (date(claims, "iat")?, date(claims, "nbf")?, date(claims, "exp")?);
    if issued_at.or(not_before).or(expiry).is_none() {
        return Err("no issued at (iat), not before (nbf), or expiration time (exp) claims in token".to_owned());
    }
    let start = issued_at.unwrap_or(0.0).max(not_before.unwrap_or(0.0));
    let expiry = expiry.unwrap_or(start + granted(leeways.expiration, DEFAULT_EXPIRATION));
    let not_before = not_before.or(issued_at).unwrap_or(expiry - granted(leeways.not_before, DEFAULT_NOT_BEFORE));
    let skew = granted(leeways.clock_skew, DEFAULT_CLOCK_SKEW);
    if now + skew < not_before {
        return Err("invalid not before (nbf) claim: token not yet valid".to_owned());
    }
    if now - skew > expiry {
        return Err("invalid expiration time (exp) claim: token is expired".to_owned());
    }
    if issued_at.is_some_and(|issued_at| now + skew < issued_at) {
        return Err("invalid issued at (iat) claim: token issued in the future".to_owned());
    }
    Ok(())
}

fn granted(leeway: i64, default: i64) -> f64 {
    let seconds = if leeway == 0 { default } else { leeway.max(0) };
    seconds as f64
}

/// A NumericDate (RFC 7519, section 2), to the second.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let seconds = number.as_f64().map(f64::trunc).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
            let seconds = seconds.ok_or_else(|| format!("the claim {name:?} is no time"))?;
            Ok(Some(seconds).filter(|seconds| *seconds != 0.0))
        }
        Some(_) => Err(format!("the claim {name:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Leeways, check};

    const STANDARD: Leeways = Leeways { expiration: 0, not_before: 0, clock_skew: 0 };
    const STRICT: Leeways = Leeways { expiration: -1, not_before: -1, clock_skew: -1 };
    const WIDE: Leeways = Leeways { expiration: 1000, not_before: 1000, clock_skew: 500 };

    #[test]
    fn times_are_checked_with_vault_s_leeways() {
        let table: [(Leeways, Value, bool); 24] = [
            (STANDARD, json!({}), false),
            (STANDARD, json!({"exp": 0, "nbf": 0, "iat": 0}), false),
            (STANDARD, json!({"exp": 10_000}), true),
            (STANDARD, json!({"exp": 9_940}), true),
            (STANDARD, json!({"exp": 9_939}), false),
            (STRICT, json!({"exp": 9_999}), false),
            (STRICT, json!({"exp": 10_000}), true),
            (WIDE, json!({"exp": 9_500}), true),
            (WIDE, json!({"exp": 9_499}), false),
            // Without a beginning, a token begins shortly before it ends.
            (STANDARD, json!({"exp": 10_210}), true),
            (STANDARD, json!({"exp": 10_211}), false),
            (STANDARD, json!({"exp": 20_000, "iat": 9_000}), true),
            (STANDARD, json!({"exp": 20_000, "iat": 10_060}), true),
            (STANDARD, json!({"exp": 20_000, "iat": 10_061}), false),
            (STANDARD, json!({"exp": 20_000, "nbf": 10_061}), false),
            (STANDARD, json!({"exp": 20_000, "nbf": 9_000, "iat": 10_061}), false),
            // Without an end, a token ends shortly after it begins.
            (STANDARD, json!({"iat": 9_790}), true),
            (STANDARD, json!({"iat": 9_789}), false),
            (STRICT, json!({"iat": 10_000}), true),
            (STRICT, json!({"iat": 9_999}), false),
            (STANDARD, json!({"exp": "20000"}), false),
            (STANDARD, json!({"exp": -5}), false),
            (STANDARD, json!({"exp": 10_000.9, "iat": 9_999.5}), true),
            (STANDARD, json!({"exp": 1e300, "nbf": 1}), true),
        ];
        for (leeways, claims, valid) in table {
            let checked = check(claims.as_object().unwrap(), leeways, 10_000.0);
            assert_eq!(checked.is_ok(), valid, "{claims} {leeways:?} {checked:?}");
        }
    }
}
