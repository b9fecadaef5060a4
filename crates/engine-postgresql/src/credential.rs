//! Credentials: a login role each, which becomes its instance's owner when it logs in.

use std::time::{Duration, Instant};

use mainstay_engine::{CredentialSpec, EngineError, InstanceSpec};
use mainstay_types::{Digest, Plan, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;

use crate::admin::{Admin, failed, run_on};
use crate::names::{ADMIN_DATABASE, database, owner};
use crate::offering;

/// How long the sessions of a credential may take to end. One that is in the middle of a disk access takes long.
const SESSION_PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether they are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// 9999-12-31T23:59:59Z, the last moment that has a text with a year of four digits.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a credential's role is like when it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub connection_limit: i32,
    /// Seconds after the Unix epoch.
    pub valid_until: i64,
    /// The role's settings in its database, as `pg_db_role_setting` has them.
    pub settings: Vec<String>,
}

impl Wanted {
    /// What a credential for an instance on a cluster of this plan is like.
    pub fn of(plan: Plan, instance: &InstanceSpec, credential: &CredentialSpec) -> Self {
        Self {
            connection_limit: offering::connection_limit(plan, &instance.parameters),
            valid_until: (credential.valid_until.as_micros() / 1_000_000).min(LAST_SECOND),
            settings: vec![format!("role={}", owner(&instance.id))],
        }
    }
}

/// Makes a credential work, or puts right what somebody changed about it. Gives the digest of what its
/// password is checked with.
pub(crate) async fn bind(
    admin: &Admin,
    plan: Plan,
    instance: &InstanceSpec,
    credential: &CredentialSpec,
    password: &SecretString,
) -> Result<Digest, EngineError> {
    let (user, owner, database) = (credential.username(), owner(&instance.id), database(&instance.id));
    let attempt = || failed(format!("credential {user} could not be made"));
    let wanted = Wanted::of(plan, instance, credential);
    // Computed here, so that the server never sees the password: not in a statement, not in its memory.
    let verifier = postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
    let attributes = format!(
        "LOGIN INHERIT CONNECTION LIMIT {} VALID UNTIL '{}' PASSWORD '{verifier}'",
        wanted.connection_limit,
        Timestamp::from_micros(wanted.valid_until * 1_000_000),
    );
    // None where there is no such role; otherwise what it is a member of besides its owner.
    let strange: Option<Vec<String>> = sqlx::query_scalar(
        "SELECT ARRAY(SELECT quote_ident(strange.rolname) FROM pg_auth_members \
                      JOIN pg_roles strange ON strange.oid = roleid \
                      WHERE member = role.oid AND strange.rolname <> $2) \
         FROM pg_roles role WHERE rolname = $1",
    )
    .bind(&user)
    .bind(&owner)
    .fetch_optional(admin.pool())
    .await
    .map_err(attempt())?;
    let make = match strange {
        None => format!("CREATE ROLE {user} {attributes} IN ROLE {owner}"),
        Some(strange) => {
            let leave: String = strange.iter().map(|role| format!("REVOKE {role} FROM {user}; ")).collect();
            format!(
                "ALTER ROLE {user} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS {attributes}; \
                 {leave}GRANT {owner} TO {user}; REVOKE ADMIN OPTION FOR {owner} FROM {user}; \
                 ALTER ROLE {user} RESET ALL; ALTER ROLE {user} IN DATABASE {database} RESET ALL"
            )
        }
    };
    // What it makes belongs to the owner, so that the instance's other bindings can use it.
    admin
        .run(format!("{make}; ALTER ROLE {user} IN DATABASE {database} SET role = {owner}"))
        .await
        .map_err(attempt())?;
    Ok(Digest::of(verifier.as_bytes()))
}

/// Refuses a credential, ends its sessions, hands what it owns to the instance's owner, and removes it.
pub(crate) async fn unbind(admin: &Admin, credential: &CredentialSpec) -> Result<(), EngineError> {
    let user = credential.username();
    let attempt = || failed(format!("credential {user} could not be removed"));
    let role: Option<i64> = sqlx::query_scalar("SELECT oid::int8 FROM pg_roles WHERE rolname = $1")
        .bind(&user)
        .fetch_optional(admin.pool())
        .await
        .map_err(attempt())?;
    let Some(role) = role else { return Ok(()) };
    admin.run(format!("ALTER ROLE {user} NOLOGIN")).await.map_err(attempt())?;
    end_sessions(admin, role, &user).await?;

    let in_use: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1::int8::oid)",
    )
    .bind(role)
    .fetch_one(admin.pool())
    .await
    .map_err(attempt())?;
    if in_use {
        hand_over(admin, credential).await.map_err(attempt())?;
    }
    admin.run(format!("DROP ROLE {user}")).await.map_err(attempt())?;
    // A client that was just logging in when the role was closed may have come through.
    end_sessions(admin, role, &user).await
}

/// What it made without being the owner (`SET ROLE NONE`) goes to the owner; what it was granted goes away.
async fn hand_over(admin: &Admin, credential: &CredentialSpec) -> Result<(), sqlx::Error> {
    let (user, owner) = (credential.username(), owner(&credential.instance));
    let database = database(&credential.instance);
    let there: (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datallowconn), \
         EXISTS (SELECT FROM pg_roles WHERE rolname = $2)",
    )
    .bind(&database)
    .bind(&owner)
    .fetch_one(admin.pool())
    .await?;
    let reassign = if there.1 { format!("REASSIGN OWNED BY {user} TO {owner}; ") } else { String::new() };
    let mut connection = admin.connect(if there.0 { &database } else { ADMIN_DATABASE }).await?;
    run_on(&mut connection, format!("{reassign}DROP OWNED BY {user}")).await?;
    connection.close().await
}

/// Ends the sessions that were opened as a role, which may be gone by now, until there are none.
async fn end_sessions(admin: &Admin, role: i64, user: &str) -> Result<(), EngineError> {
    let deadline = Instant::now() + SESSION_PATIENCE;
    loop {
        let ended: Vec<bool> =
            sqlx::query_scalar("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1::int8::oid")
                .bind(role)
                .fetch_all(admin.pool())
                .await
                .map_err(failed(format!("the sessions of credential {user} could not be ended")))?;
        if ended.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let left = ended.len();
            return Err(EngineError::transient(format!("{left} sessions of credential {user} do not end")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
