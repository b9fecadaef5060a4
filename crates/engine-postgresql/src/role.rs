//! Login roles: what removes one with its sessions, and leaves to the instance what it made.

use std::time::{Duration, Instant};

use mainstay_engine::EngineError;
use mainstay_types::InstanceId;
use sqlx::Connection;

use crate::admin::{Admin, failed, run_on};
use crate::names::{ADMIN_DATABASE, database, owner};

/// How long the sessions of a role may take to end. One that is in the middle of a disk access takes long.
const SESSION_PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether they are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Refuses a role, ends its sessions, hands what it owns to the instance's owner, and removes it with all that it was
/// granted. That there is no such role is no error.
pub(crate) async fn remove(admin: &Admin, user: &str, instance: &InstanceId) -> Result<(), EngineError> {
    let attempt = || failed(format!("role {user} could not be removed"));
    let role: Option<i64> = sqlx::query_scalar("SELECT oid::int8 FROM pg_roles WHERE rolname = $1")
        .bind(user)
        .fetch_optional(admin.pool())
        .await
        .map_err(attempt())?;
    let Some(role) = role else { return Ok(()) };
    admin.run(format!("ALTER ROLE {user} NOLOGIN")).await.map_err(attempt())?;
    end_sessions(admin, role, user).await?;

    let in_use: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1::int8::oid)",
    )
    .bind(role)
    .fetch_one(admin.pool())
    .await
    .map_err(attempt())?;
    if in_use {
        hand_over(admin, user, instance).await.map_err(attempt())?;
    }
    admin.run(format!("DROP ROLE {user}")).await.map_err(attempt())?;
    // A client that was just logging in when the role was closed may have come through.
    end_sessions(admin, role, user).await
}

/// What it made without being the owner (`SET ROLE NONE`) goes to the owner; what it was granted goes away.
async fn hand_over(admin: &Admin, user: &str, instance: &InstanceId) -> Result<(), sqlx::Error> {
    let (owner, database) = (owner(instance), database(instance));
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
                .map_err(failed(format!("the sessions of role {user} could not be ended")))?;
        if ended.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let left = ended.len();
            return Err(EngineError::transient(format!("{left} sessions of role {user} do not end")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
