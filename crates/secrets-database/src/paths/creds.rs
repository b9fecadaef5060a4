//! `creds/:role`: credentials that are made when they are asked for, and end with their lease.

use mainstay_secrets_engine::{Answer, Lease, Operation, Refusal, Request};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::backend::Database;
use crate::databases::NewCredential;
use crate::names::consumer;
use crate::records::{self, Given, Role};

/// How much longer a credential lasts than its lease, so that it never ends first: the lease begins a moment later.
const LEASE_MARGIN_SECONDS: u64 = 5;

pub async fn handle(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    if request.operation != Operation::Read {
        return Err(Refusal::UnsupportedOperation);
    }
    let role = records::find::<Role>(&database.storage, name).await?;
    let role = role.ok_or_else(|| Refusal::invalid(format!("unknown role: {name}")))?.value;
    let config = database.config_for(&role.db_name, name).await?;
    if role.creation_statements.is_empty() {
        // Vault's status for it is 500.
        return Err(Refusal::Failed { what: "empty creation statements".to_owned(), source: None });
    }
    let (ttl_seconds, max_ttl_seconds) = lease_seconds(database, &role);
    let wanted = NewCredential {
        tenant: request.tenant.clone(),
        instance: config.instance,
        consumer: consumer(name),
        lease_seconds: ttl_seconds + LEASE_MARGIN_SECONDS,
        statements: Some(role.creation_statements),
    };
    let made = database.databases.create(wanted).await?;
    let given = Given { tenant: request.tenant.clone(), binding: made.binding, role: name.to_owned() };
    let internal = serde_json::to_value(given).expect("names and ids are JSON");
    let data = json!({ "username": made.username, "password": made.password.expose_secret() });
    Ok(Answer::data(data).leased(Lease { ttl_seconds, max_ttl_seconds, renewable: true, internal }))
}

pub async fn renew(database: &Database, lease: Lease, seconds: u64) -> Result<Lease, Refusal> {
    let given = given(&lease.internal)?;
    let role = records::find::<Role>(&database.storage, &given.role).await?;
    let role = role.ok_or_else(|| {
        Refusal::invalid(format!("error during renew: could not find role with name: {:?}", given.role))
    })?;
    match database.databases.renew(&given.tenant, &given.binding, seconds + LEASE_MARGIN_SECONDS).await {
        Err(Refusal::NotFound) => {
            Err(Refusal::invalid("error during renew: the credential is gone; read new ones from creds/"))
        }
        outcome => outcome,
    }?;
    let (ttl_seconds, max_ttl_seconds) = lease_seconds(database, &role.value);
    Ok(Lease { ttl_seconds, max_ttl_seconds, ..lease })
}

pub async fn revoke(database: &Database, internal: &Value) -> Result<(), Refusal> {
    let given = given(internal)?;
    database.databases.revoke(&given.tenant, &given.binding).await
}

/// How long a role's credentials last at first, and at most.
fn lease_seconds(database: &Database, role: &Role) -> (u64, u64) {
    let mount = &database.mount;
    let or_else = |seconds: u64, otherwise: u64| if seconds == 0 { otherwise } else { seconds };
    let longest = or_else(role.max_ttl, mount.max_lease_seconds).min(mount.max_lease_seconds);
    (or_else(role.default_ttl, mount.default_lease_seconds).min(longest), longest)
}

fn given(internal: &Value) -> Result<Given, Refusal> {
    // What the record holds is no secret, but what serde says of it tells nobody anything either.
    serde_json::from_value(internal.clone())
        .map_err(|error| Refusal::failed("the lease's record can not be read", error))
}
