//! `static-roles/:name`, `static-creds/:name` and `rotate-role/:name`: one user each, whose password is replaced.

use mainstay_secrets_engine::{Answer, Operation, Refusal, Request};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{check_credential_type, statements};
use crate::backend::Database;
use crate::records::{self, Role, StaticRole};
use crate::rotation::Place;

/// The shortest period, as in Vault: rotation must be able to follow.
const SHORTEST_PERIOD_SECONDS: u64 = 5;
/// The longest: longer than this no binding lasts without being renewed.
const LONGEST_PERIOD_SECONDS: u64 = 366 * 24 * 3600;

pub async fn handle(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    match request.operation {
        Operation::Create | Operation::Update => write(database, request, name).await,
        Operation::Read => match records::find::<StaticRole>(&database.storage, name).await? {
            Some(stored) => Ok(read(&stored.value)),
            None => Err(Refusal::NotFound),
        },
        Operation::Delete => {
            database.rotation.remove(name).await?;
            Ok(Answer::nothing())
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

pub async fn credentials(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    if request.operation != Operation::Read {
        return Err(Refusal::UnsupportedOperation);
    }
    let unknown = || Refusal::invalid(format!("unknown role: {name}"));
    let role = records::find::<StaticRole>(&database.storage, name).await?.ok_or_else(unknown)?.value;
    database.config_for(&role.db_name, name).await?;
    // What is due is replaced now, and not a moment after it was handed out.
    let role = database.rotation.up_to_date(name, request.now).await?.ok_or_else(unknown)?;
    let credential = match database.databases.read(&role.tenant, &role.binding).await {
        Err(Refusal::NotFound) => {
            let what = format!("the user of static role {name:?} is gone; it is made again within a minute");
            return Err(Refusal::Unavailable { what, source: None });
        }
        outcome => outcome?,
    };
    Ok(Answer::data(json!({
        "username": credential.username,
        "password": credential.password.expose_secret(),
        "ttl": role.due().seconds_since(request.now).max(0.0).round() as u64,
        "rotation_period": role.rotation_period,
        "last_vault_rotation": role.last_rotation,
    })))
}

pub async fn rotate(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    if !request.is_write() {
        return Err(Refusal::UnsupportedOperation);
    }
    if database.rotation.rotate(name).await? {
        return Ok(Answer::nothing());
    }
    Err(Refusal::invalid("no static role found for role name"))
}

async fn write(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    let fields = request.fields();
    if records::find::<Role>(&database.storage, name).await?.is_some() {
        return Err(Refusal::invalid("Role and Static Role names must be unique"));
    }
    let before = records::find::<StaticRole>(&database.storage, name).await?.map(|stored| stored.value);
    check_credential_type(fields)?;
    let db_name = fields.text("db_name")?.or(before.as_ref().map(|before| before.db_name.clone()));
    let db_name = db_name.filter(|db_name| !db_name.is_empty());
    let db_name = db_name.ok_or_else(|| Refusal::invalid("database name is a required field"))?;
    let username = fields.text("username")?.filter(|username| !username.is_empty());
    let period = fields.seconds("rotation_period")?.or(before.as_ref().map(|before| before.rotation_period));
    let period = period.ok_or_else(|| Refusal::invalid("rotation_period is required to create static accounts"))?;
    if period < SHORTEST_PERIOD_SECONDS {
        return Err(Refusal::invalid(format!("rotation_period must be {SHORTEST_PERIOD_SECONDS} seconds or more")));
    }
    if period > LONGEST_PERIOD_SECONDS {
        return Err(Refusal::invalid(format!("rotation_period must be {LONGEST_PERIOD_SECONDS} seconds or less")));
    }
    let rotation_statements = statements(fields, "rotation_statements")?;
    if rotation_statements.iter().flatten().any(|statement| !sets_the_password(statement)) {
        return Err(Refusal::invalid(
            "rotation_statements are not taken: the layer itself sets the password. Leave them out, or write \
             ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}'",
        ));
    }
    let place = Place { tenant: request.tenant.clone(), db_name: db_name.clone(), rotation_period: period };
    match before {
        None if username.is_some() => Err(Refusal::invalid(
            "username is not taken: the layer gives the user a name that is unique on the database server, and says it \
             in static-roles/ and static-creds/; it stays as long as the static role",
        )),
        None => {
            let config = database.config_for(&db_name, name).await?;
            let statements = rotation_statements.unwrap_or_default();
            database.rotation.create(name, place, config.instance, statements).await?;
            Ok(Answer::nothing())
        }
        Some(before) if username.is_some_and(|username| username != before.username) => {
            Err(Refusal::invalid("cannot update static account username"))
        }
        Some(before) if db_name != before.db_name => {
            Err(Refusal::invalid("cannot update static account db_name: its user is on the other one; delete it first"))
        }
        Some(_) => {
            database.rotation.change(name, period, rotation_statements).await?;
            Ok(Answer::nothing())
        }
    }
}

/// Whether a statement does what the layer does anyway, as stock clients have it: to set the password of the user.
fn sets_the_password(statement: &str) -> bool {
    let statement = statement.trim().trim_end_matches(';').replace('"', "").to_ascii_uppercase();
    let words: Vec<&str> = statement.split_whitespace().filter(|word| !["WITH", "ENCRYPTED"].contains(word)).collect();
    matches!(words[..], ["ALTER", "USER" | "ROLE", "{{NAME}}" | "{{USERNAME}}", "PASSWORD", "'{{PASSWORD}}'"])
}

fn read(role: &StaticRole) -> Answer {
    Answer::data(json!({
        "db_name": role.db_name,
        "username": role.username,
        "rotation_period": role.rotation_period,
        "rotation_statements": role.rotation_statements,
        "last_vault_rotation": role.last_rotation,
        "credential_type": "password",
    }))
}

#[cfg(test)]
mod tests {
    use super::sets_the_password;

    #[test]
    fn rotation_statements() {
        for usual in [
            "ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}';",
            "alter role \"{{username}}\" password '{{password}}'",
            "ALTER ROLE {{name}} WITH ENCRYPTED PASSWORD '{{password}}'",
        ] {
            assert!(sets_the_password(usual), "{usual}");
        }
        for other in [
            "ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}'; GRANT a TO b",
            "ALTER USER \"{{name}}\" SUPERUSER PASSWORD '{{password}}'",
            "ALTER USER other PASSWORD '{{password}}'",
            "SELECT 1",
        ] {
            assert!(!sets_the_password(other), "{other}");
        }
    }
}
