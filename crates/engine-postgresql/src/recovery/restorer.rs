//! The role that restores an instance, and that asks what its owner asserts: for that time a member of the owner and of
//! nothing else.
//!
//! Restoring runs what a tenant wrote: defaults, constraints, functions in indexes. In a superuser's session that would be
//! the superuser, however the session is disguised. So it is a session that never was one's.

use mainstay_engine::EngineError;

use crate::admin::{Admin, failed};
use crate::names::RESTORER_ROLE;

/// Makes the role, a member of this owner alone.
pub(super) async fn make(admin: &Admin, owner: &str) -> Result<(), EngineError> {
    remove(admin).await?;
    let make = format!("CREATE ROLE {RESTORER_ROLE} LOGIN INHERIT NOSUPERUSER IN ROLE {owner}");
    admin.run(make).await.map_err(failed("the role that restores could not be made"))
}

/// Removes the role, with what it was allowed.
pub(super) async fn remove(admin: &Admin) -> Result<(), EngineError> {
    let attempt = || failed("the role that restores could not be removed");
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(RESTORER_ROLE)
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !exists {
        return Ok(());
    }
    let end = format!(
        "ALTER ROLE {RESTORER_ROLE} NOLOGIN; \
         SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{RESTORER_ROLE}'"
    );
    admin.run(end).await.map_err(attempt())?;
    // Of databases and other things that all share; it owns nothing, and within databases it has nothing.
    admin.run(format!("DROP OWNED BY {RESTORER_ROLE}; DROP ROLE {RESTORER_ROLE}")).await.map_err(attempt())
}
