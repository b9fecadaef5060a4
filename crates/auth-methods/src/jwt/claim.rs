//! Finding claims in a token.

use serde_json::{Map, Value};

/// A claim by its name, or by a JSON pointer where it begins with a slash: `/resource/groups/0`.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = match name.strip_prefix('/') {
        None => claims.get(name),
        Some(pointer) => {
            let (first, rest) = match pointer.find('/') {
                Some(slash) => pointer.split_at(slash),
                None => (pointer, ""),
            };
            claims.get(&first.replace("~1", "/").replace("~0", "~")).and_then(|value| value.pointer(rest))
        }
    };
    found.filter(|value| !value.is_null())
}

/// One value or several, as a list: issuers write a list of one without the list.
pub(super) fn listed(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(std::slice::from_ref(value)),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::find;

    #[test]
    fn names_and_pointers_find_claims() {
        let claims = json!({
            "sub": "ada", "https://vault/user": "x", "a/b": {"c~d": [1, {"e": "deep"}]}, "none": null, "": {"": 5},
        });
        let claims = claims.as_object().unwrap();
        let table: [(&str, Option<Value>); 9] = [
            ("sub", Some(json!("ada"))),
            ("https://vault/user", Some(json!("x"))),
            ("/sub", Some(json!("ada"))),
            ("/a~1b/c~0d/1/e", Some(json!("deep"))),
            ("a/b", Some(json!({"c~d": [1, {"e": "deep"}]}))),
            ("/a~1b/nothing", None),
            ("none", None),
            ("/", Some(json!({"": 5}))),
            ("/sub/deeper", None),
        ];
        for (name, expected) in table {
            assert_eq!(find(claims, name), expected.as_ref(), "{name}");
        }
    }
}
