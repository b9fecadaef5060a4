//! What a rule asks of a request beside its path: parameters, and how long its answer is wrapped.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Values by parameter, whose name is in lower case. No values mean any value; the parameter `*` means all of them.
pub(crate) type Values = BTreeMap<String, Vec<Value>>;

/// What a rule asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conditions {
    /// Nothing but these, unless there are none.
    pub(crate) allowed: Values,
    /// None of these.
    pub(crate) denied: Values,
    /// All of these.
    pub(crate) required: BTreeSet<String>,
    /// How long the answer has to be wrapped at least and at most, in seconds; 0 means no such bound.
    pub(crate) min_wrapping_ttl: u64,
    pub(crate) max_wrapping_ttl: u64,
}

impl Conditions {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another rule for the same path asks for.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge_values(&mut self.allowed, &other.allowed);
        merge_values(&mut self.denied, &other.denied);
        self.required.extend(other.required.iter().cloned());
        // The shorter of both, at either end.
        for (own, other) in
            [(&mut self.min_wrapping_ttl, other.min_wrapping_ttl), (&mut self.max_wrapping_ttl, other.max_wrapping_ttl)]
        {
            if other > 0 && (*own == 0 || other < *own) {
                *own = other;
            }
        }
    }

    /// Whether an answer that is wrapped for so long is as it has to be.
    pub(crate) fn allow_wrapping(&self, wrap_ttl: Option<u64>) -> bool {
        let (least, most) = (self.min_wrapping_ttl, self.max_wrapping_ttl);
        if least == 0 && most == 0 {
            return true;
        }
        wrap_ttl.is_some_and(|ttl| ttl >= least && (most == 0 || ttl <= most))
    }

    /// Whether a request may have these parameters.
    pub(crate) fn allow_parameters(&self, data: &Map<String, Value>) -> bool {
        if !self.required.iter().all(|parameter| data.contains_key(parameter)) {
            return false;
        }
        if data.is_empty() {
            return true;
        }
        let is_denied = |(parameter, value): (&String, &Value)| {
            let values = self.denied.get(&parameter.to_lowercase());
            values.is_some_and(|values| values.is_empty() || values.iter().any(|denied| is_hit(denied, value)))
        };
        if self.denied.contains_key("*") || data.iter().any(is_denied) {
            return false;
        }
        let others_too = self.allowed.is_empty() || self.allowed.contains_key("*");
        data.iter().all(|(parameter, value)| match self.allowed.get(&parameter.to_lowercase()) {
            None => others_too,
            Some(values) => values.is_empty() || is_allowed(values, value),
        })
    }
}

/// Adds values. A parameter with any value in one of both has any value.
fn merge_values(own: &mut Values, other: &Values) {
    for (parameter, values) in other {
        match own.get_mut(parameter) {
            None => {
                own.insert(parameter.clone(), values.clone());
            }
            Some(own) if own.is_empty() || values.is_empty() => own.clear(),
            Some(own) => own.extend(values.iter().cloned()),
        }
    }
}

/// Whether a value is among those that are allowed: itself or, for a list or a text with commas, each of its parts.
fn is_allowed(allowed: &[Value], value: &Value) -> bool {
    let is_among = |value: &Value| allowed.iter().any(|allowed| is_same(allowed, value, glob));
    if is_among(value) {
        return true;
    }
    // A list without parts has none that is forbidden, but none that is allowed either.
    match value {
        Value::Array(parts) => !parts.is_empty() && parts.iter().all(is_among),
        Value::String(text) if text.contains(',') => text.split(',').all(|part| is_among(&Value::from(part.trim()))),
        _ => false,
    }
}

/// Whether a value or one of its parts is the denied one.
///
/// Numbers and booleans are compared as texts too: most fields take `5` and `"5"` for the same, so that a denial of the
/// one has to cover the other.
fn is_hit(denied: &Value, value: &Value) -> bool {
    let is_denied = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) => {
            is_same(denied, value, glob_any) || is_same(denied, &Value::from(value.to_string()), glob_any)
        }
        Value::String(_) if matches!(denied, Value::Number(_) | Value::Bool(_)) => {
            is_same(&Value::from(denied.to_string()), value, glob_any)
        }
        value => is_same(denied, value, glob_any),
    };
    is_denied(value)
        || match value {
            Value::Array(parts) => parts.iter().any(is_denied),
            Value::String(text) => text.split(',').any(|part| is_denied(&Value::from(part.trim()))),
            _ => false,
        }
}

/// Whether a value is the one of a rule, in which texts may be globs.
fn is_same(rule: &Value, value: &Value, glob: fn(&str, &str) -> bool) -> bool {
    match (rule, value) {
        (Value::String(pattern), Value::String(text)) => glob(pattern, text),
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (rule, value) => rule == value,
    }
}

/// Whether a text matches a pattern, which may have a `*` at either end. A `*` alone is no glob, as in Vault.
fn glob(pattern: &str, text: &str) -> bool {
    if pattern.len() < 2 {
        return pattern == text;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(&pattern[1..pattern.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(beginning)) => text.starts_with(beginning),
        (None, None) => pattern == text,
    }
}

/// The same for what is denied, where a `*` alone covers every text: whoever wrote it meant that.
fn glob_any(pattern: &str, text: &str) -> bool {
    pattern == "*" || glob(pattern, text)
}
