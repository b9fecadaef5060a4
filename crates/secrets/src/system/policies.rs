//! `sys/policies/acl`, and `sys/policy` as it was before.

use mainstay_policy::PolicyName;
use mainstay_secrets_engine::{Answer, Operation, Refusal};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::outcome::Outcome;

/// Serves `sys/policies/acl...`, given what follows `sys/policies/`.
pub(crate) async fn acl(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    let name = match rest.strip_prefix("acl") {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => &rest[1..],
        _ => return Err(Refusal::UnsupportedPath),
    };
    match asked.operation {
        Operation::List | Operation::Read if name.is_empty() => {
            Ok(Outcome::answer(Answer::keys(asked.namespace.policies.names().await?)))
        }
        _ => one(asked, name, "policy").await,
    }
}

/// Serves `sys/policy...`, given what follows it and its slash.
pub(crate) async fn legacy(asked: &Asked<'_>, name: &str) -> Result<Outcome, Refusal> {
    match asked.operation {
        Operation::List | Operation::Read if name.is_empty() => {
            let names = asked.namespace.policies.names().await?;
            Ok(Outcome::answer(Answer::data(json!({ "keys": names, "policies": names }))))
        }
        _ => one(asked, name, "rules").await,
    }
}

/// One policy, whose text is called differently by the two.
async fn one(asked: &Asked<'_>, name: &str, text_field: &str) -> Result<Outcome, Refusal> {
    let name = match PolicyName::parse(name) {
        Ok(name) => name,
        // No policy has such a name: there is none to read, and nothing to remove.
        Err(_) if asked.operation == Operation::Read => return Err(Refusal::NotFound),
        Err(_) if asked.operation == Operation::Delete => return Ok(Outcome::answer(Answer::nothing())),
        Err(error) => return Err(Refusal::invalid(error.to_string())),
    };
    let policies = &asked.namespace.policies;
    match asked.operation {
        Operation::Read => {
            let text = if name.is_root() { Some(String::new()) } else { policies.text(&name).await? };
            let text = text.ok_or(Refusal::NotFound)?;
            Ok(Outcome::answer(Answer::data(json!({ "name": name.as_str(), text_field: text }))))
        }
        Operation::Create | Operation::Update => {
            let fields = asked.fields();
            let policy = fields.get("policy").or_else(|| fields.get("rules"));
            let text = match policy {
                Some(Value::String(text)) if !text.is_empty() => decoded(text),
                // hvac sends a policy that is a Python object as a JSON object.
                Some(object @ Value::Object(_)) => object.to_string(),
                _ => return Err(Refusal::invalid("'policy' parameter not supplied or empty")),
            };
            policies.put(&name, &text).await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        Operation::Delete => {
            policies.delete(&name).await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        Operation::List | Operation::Patch => Err(Refusal::UnsupportedOperation),
    }
}

/// A policy may come in base64, as Vault takes it.
fn decoded(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}
