//! What the paths do, one file for each kind of thing.

pub mod config;
pub mod creds;
pub mod roles;
pub mod static_roles;

use mainstay_secrets_engine::{Fields, Refusal};

/// Refuses statements where the layer has its own way.
fn refuse_statements(fields: Fields<'_>, name: &str, why: &str) -> Result<(), Refusal> {
    let given = fields.list(name)?.unwrap_or_default();
    if given.iter().all(|statement| statement.trim().is_empty()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{name} are not taken: {why}")))
}

/// Refuses a text where the layer has its own way.
fn refuse_text(fields: Fields<'_>, name: &str, why: &str) -> Result<(), Refusal> {
    if fields.text(name)?.unwrap_or_default().is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{name} is not taken: {why}")))
}

/// Refuses credentials of another type than passwords.
fn check_credential_type(fields: Fields<'_>) -> Result<(), Refusal> {
    match fields.text("credential_type")?.as_deref() {
        None | Some("" | "password") => {}
        Some(other) => return Err(Refusal::invalid(format!("invalid credential_type {other:?}"))),
    }
    match fields.map("credential_config")? {
        Some(config) if !config.is_empty() => {
            Err(Refusal::invalid("credential_config validation failed: the layer draws all passwords alike"))
        }
        _ => Ok(()),
    }
}

/// Statements as a list. One that came alone as a text may have commas within, which split nothing in SQL.
fn statements(fields: Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let list = match fields.get(name) {
        Some(serde_json::Value::String(text)) => Some(vec![text.clone()]),
        _ => fields.list(name)?,
    };
    Ok(list.map(|list| list.into_iter().filter(|statement| !statement.trim().is_empty()).collect()))
}
