//! Claims that a role asks for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::jwt::claim;

/// How the values that a role asks for are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Matching {
    /// Exactly.
    #[default]
    String,
    /// With `*` for any number of characters.
    Glob,
}

/// Whether every claim that a role asks for has one of the values that it asks for.
pub(super) fn check(matching: Matching, bound: &Map<String, Value>, claims: &Map<String, Value>) -> Result<(), String> {
    for (name, expected) in bound {
        let actual = claim::find(claims, name).ok_or_else(|| format!("claim {name:?} is missing"))?;
        // The values stay out of the messages: they are about somebody.
        let actual = claim::listed(actual)
            .ok_or_else(|| format!("received claim {name:?} is not a string, bool, int or list"))?;
        let expected = claim::listed(expected)
            .ok_or_else(|| format!("bound claim {name:?} is not a string, bool, int or list"))?;
        if !expected.iter().any(|expected| actual.iter().any(|actual| fits(matching, expected, actual))) {
            return Err(format!("claim {name:?} does not match any associated bound claim values"));
        }
    }
    Ok(())
}

fn fits(matching: Matching, expected: &Value, actual: &Value) -> bool {
    match (matching, expected, actual) {
        (Matching::Glob, Value::String(pattern), Value::String(text)) => glob(pattern, text),
        (Matching::Glob, _, _) => false,
        (Matching::String, Value::Number(expected), Value::Number(actual)) => {
            // 5 and 5.0 are the same number.
            expected == actual || expected.as_f64() == actual.as_f64()
        }
        (Matching::String, expected, actual) => expected == actual,
    }
}

/// Whether a text fits a pattern in which `*` stands for any number of characters. Its time is that of a search for
/// each part, whatever the pattern: the text is an attacker's.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(prefix) else { return false };
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Matching, check, glob};

    #[test]
    fn a_star_stands_for_any_number_of_characters() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-c-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ref:*:main", "ref:x:main", true),
            ("ref:*:main", "ref:x:main2", false),
            ("**a**", "bab", true),
            ("a.c", "abc", false),
        ];
        for (pattern, text, fits) in table {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn each_claim_has_to_have_one_of_its_values() {
        let table: [(Matching, Value, Value, bool); 14] = [
            (Matching::String, json!({}), json!({}), true),
            (Matching::String, json!({"a": "x"}), json!({"a": "x"}), true),
            (Matching::String, json!({"a": "x"}), json!({"a": "y"}), false),
            (Matching::String, json!({"a": "x"}), json!({}), false),
            (Matching::String, json!({"a": ["x", "y"]}), json!({"a": "y"}), true),
            (Matching::String, json!({"a": "x"}), json!({"a": ["y", "x"]}), true),
            (Matching::String, json!({"a": "x*"}), json!({"a": "xy"}), false),
            (Matching::String, json!({"a": true, "/b/c": 5}), json!({"a": true, "b": {"c": 5.0}}), true),
            (Matching::String, json!({"a": 5}), json!({"a": 5.9}), false),
            (Matching::String, json!({"a": "5"}), json!({"a": 5}), false),
            (Matching::String, json!({"a": "x"}), json!({"a": {"x": 1}}), false),
            (Matching::String, json!({"a": "x", "b": "y"}), json!({"a": "x", "b": "z"}), false),
            (Matching::Glob, json!({"a": "x*"}), json!({"a": ["y", "xy"]}), true),
            (Matching::Glob, json!({"a": "*"}), json!({"a": true}), false),
        ];
        for (matching, bound, claims, fits) in table {
            let checked = check(matching, bound.as_object().unwrap(), claims.as_object().unwrap());
            assert_eq!(checked.is_ok(), fits, "{matching:?} {bound} {claims}");
        }
    }
}
