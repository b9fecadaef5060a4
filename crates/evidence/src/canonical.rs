//! JSON in the one form that RFC 8785 gives it.

use serde_json::Value;

/// The canonical form of a value whose keys are of ASCII and whose numbers are whole, as all of this crate's are: for such keys
/// the order of UTF-16, which the RFC asks for, is that of bytes, and strings are escaped by serde_json as it asks for.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            // Sorted here and not by the map, whose order is a feature of serde_json that any crate may turn on.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn there_is_one_form() {
        let value = json!({"b": [1, true, null, {}], "a": {"y": "\u{20ac}$\u{f}\nA'\"\\/", "x": []}, "B": 0});
        // The string is the RFC's own example, section 3.2.2.
        let expected = "{\"B\":0,\"a\":{\"x\":[],\"y\":\"\u{20ac}$\\u000f\\nA'\\\"\\\\/\"},\"b\":[1,true,null,{}]}";
        assert_eq!(String::from_utf8(super::to_bytes(&value)).unwrap(), expected);
    }
}
