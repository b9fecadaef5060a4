//! Whom a token is for: the `aud` claim (RFC 7519, section 4.1.3).

use serde_json::{Map, Value};

/// Whether a token is for somebody that a role names. `aud` may be a text or a list of texts, and both are looked at
/// alike; a token for somebody is refused where the role names nobody.
pub(super) fn check(claims: &Map<String, Value>, bound: &[String]) -> Result<(), String> {
    let audiences: Vec<&str> = match claims.get("aud") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(audiences)) => {
            let texts: Option<Vec<&str>> = audiences.iter().map(Value::as_str).collect();
            texts.ok_or("error validating token: the audience (aud) claim holds something that is not a string")?
        }
        Some(_) => return Err("error validating token: the audience (aud) claim is not a string or a list".to_owned()),
    };
    match (bound.is_empty(), audiences.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err("audience claim found in JWT but no audiences bound to the role".to_owned()),
        (false, _) if audiences.iter().any(|audience| bound.iter().any(|bound| bound == audience)) => Ok(()),
        (false, _) => Err("error validating token: invalid audience (aud) claim: audience claim does not match any \
                           expected audience"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;

    #[test]
    fn a_text_and_a_list_are_looked_at_alike() {
        let table: [(Value, &[&str], bool); 15] = [
            (json!({}), &[], true),
            (json!({"aud": null}), &[], true),
            (json!({"aud": []}), &[], true),
            (json!({"aud": "app"}), &[], false),
            (json!({"aud": ["app"]}), &[], false),
            (json!({"aud": ""}), &[], false),
            (json!({"aud": "app"}), &["app"], true),
            (json!({"aud": ["other", "app"]}), &["app"], true),
            (json!({"aud": "app"}), &["other", "app"], true),
            (json!({"aud": "App"}), &["app"], false),
            (json!({"aud": ["other"]}), &["app"], false),
            (json!({}), &["app"], false),
            (json!({"aud": []}), &["app"], false),
            (json!({"aud": {"app": true}}), &["app"], false),
            (json!({"aud": ["app", 5]}), &["app"], false),
        ];
        for (claims, bound, fits) in table {
            let bound: Vec<String> = bound.iter().map(|audience| (*audience).to_owned()).collect();
            assert_eq!(check(claims.as_object().unwrap(), &bound).is_ok(), fits, "{claims} {bound:?}");
        }
    }
}
