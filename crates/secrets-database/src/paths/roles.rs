//! `roles/:name`: what credentials are made with.

use mainstay_secrets_engine::{Answer, Operation, Refusal, Request};
use serde_json::json;

use super::{check_credential_type, refuse_statements, statements};
use crate::backend::Database;
use crate::records::{self, Role, StaticRole};

pub async fn handle(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    match request.operation {
        Operation::Create | Operation::Update => write(database, request, name).await,
        Operation::Read => match records::find::<Role>(&database.storage, name).await? {
            Some(stored) => Ok(read(&stored.value)),
            None => Err(Refusal::NotFound),
        },
        Operation::Delete => {
            records::remove::<Role>(&database.storage, name).await?;
            Ok(Answer::nothing())
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

async fn write(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    let fields = request.fields();
    if records::find::<StaticRole>(&database.storage, name).await?.is_some() {
        return Err(Refusal::invalid("Role and Static Role names must be unique"));
    }
    let before = records::find::<Role>(&database.storage, name).await?.map(|stored| stored.value).unwrap_or_default();
    let role = Role {
        db_name: fields.text("db_name")?.unwrap_or(before.db_name),
        creation_statements: statements(fields, "creation_statements")?.unwrap_or(before.creation_statements),
        default_ttl: fields.seconds("default_ttl")?.unwrap_or(before.default_ttl),
        max_ttl: fields.seconds("max_ttl")?.unwrap_or(before.max_ttl),
    };
    if role.db_name.is_empty() {
        return Err(Refusal::invalid("database name is required"));
    }
    check_credential_type(fields)?;
    let why = "the layer itself ends sessions, takes back what was granted and drops the user";
    refuse_statements(fields, "revocation_statements", why)?;
    refuse_statements(fields, "rollback_statements", "what creation_statements began is undone by the layer itself")?;
    refuse_statements(fields, "renew_statements", "the layer itself tells the database until when a user is valid")?;
    if role.max_ttl != 0 && role.default_ttl > role.max_ttl {
        return Err(Refusal::invalid("default_ttl cannot be greater than max_ttl"));
    }
    records::put(&database.storage, name, &role).await?;
    Ok(Answer::nothing())
}

fn read(role: &Role) -> Answer {
    Answer::data(json!({
        "db_name": role.db_name,
        "creation_statements": role.creation_statements,
        "revocation_statements": [],
        "rollback_statements": [],
        "renew_statements": [],
        "default_ttl": role.default_ttl,
        "max_ttl": role.max_ttl,
        "credential_type": "password",
    }))
}
