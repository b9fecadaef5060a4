//! `subkeys/PATH`: the names in a secret's values, without what they stand for.

use mainstay_secrets_engine::{Answer, Operation, Refusal, Request};
use serde_json::{Map, Value};

use super::Versioned;

/// How deep names are shown at most, as in Vault.
const DEEPEST: u64 = 100;

impl Versioned {
    pub(super) async fn handle_subkeys(&self, request: &Request, path: &str) -> Result<Answer, Refusal> {
        if request.operation != Operation::Read {
            return Err(Refusal::UnsupportedOperation);
        }
        let depth = match request.fields().count("depth")?.unwrap_or(0) {
            0 => DEEPEST,
            depth => depth.min(DEEPEST),
        };
        self.read_version(request, path, "subkeys", |values| without_values(values, depth)).await
    }
}

/// Puts `null` in the place of everything but objects, down to a depth at which objects are `null` too.
fn without_values(values: Map<String, Value>, depth: u64) -> Map<String, Value> {
    let names = values.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Object(below) if depth > 1 && !below.is_empty() => Value::Object(without_values(below, depth - 1)),
            _ => Value::Null,
        };
        (name, value)
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DEEPEST, without_values};

    #[test]
    fn names_are_left_and_values_are_not() {
        let values = json!({"a": "x", "b": {"c": 1, "d": {"e": [2]}, "f": {}}, "g": [{"h": "secret"}], "i": null});
        let table = [
            (1, json!({"a": null, "b": null, "g": null, "i": null})),
            (2, json!({"a": null, "b": {"c": null, "d": null, "f": null}, "g": null, "i": null})),
            (DEEPEST, json!({"a": null, "b": {"c": null, "d": {"e": null}, "f": null}, "g": null, "i": null})),
        ];
        for (depth, expected) in table {
            let Value::Object(values) = values.clone() else { unreachable!() };
            assert_eq!(Value::Object(without_values(values, depth)), expected);
        }
    }
}
