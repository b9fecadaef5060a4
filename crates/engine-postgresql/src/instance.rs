//! Instances: a database each, and the role that owns it.

use mainstay_engine::{EngineError, InstanceSpec};
use mainstay_types::Presence;

use crate::admin::{Admin, failed};
use crate::names::{TEMPLATE_DATABASE, database, new_database, old_database, owner};
use crate::observe;

/// Makes an instance, or puts right what somebody changed about it.
pub(crate) async fn provision(admin: &Admin, instance: &InstanceSpec) -> Result<(), EngineError> {
    let (database, owner) = (database(&instance.id), owner(&instance.id));
    let attempt = || failed(format!("instance {} could not be provisioned", instance.id));
    let found = observe::databases(admin, std::slice::from_ref(instance)).await.map_err(attempt())?;
    let found = found.get(&database);
    if observe::instance_presence(instance, found) == Presence::Present {
        return Ok(());
    }
    let role_exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(&owner)
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !role_exists {
        // Not waited for: the commit of CREATE DATABASE puts it on disk with itself.
        let create = format!("SET LOCAL synchronous_commit = off; CREATE ROLE {owner} NOLOGIN");
        admin.run(create).await.map_err(attempt())?;
    }
    if found.is_none() {
        // Closed until it is locked down, so that no other tenant can come in between.
        let create = format!(
            "CREATE DATABASE {database} TEMPLATE {TEMPLATE_DATABASE} OWNER {owner} ALLOW_CONNECTIONS false \
             STRATEGY wal_log"
        );
        admin.run(create).await.map_err(attempt())?;
    }
    let strange: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(strange.rolname) FROM pg_auth_members JOIN pg_roles strange ON strange.oid = roleid \
         JOIN pg_roles owner ON owner.oid = member WHERE owner.rolname = $1",
    )
    .bind(&owner)
    .fetch_all(admin.pool())
    .await
    .map_err(attempt())?;
    let leave: String = strange.iter().map(|role| format!("REVOKE {role} FROM {owner}; ")).collect();
    // Not waited for either: the first binding's commit puts it on disk. A server that is killed before leaves
    // the database closed, which is seen as drift and put right; nobody can have stored anything in it.
    let lock_down = format!(
        "SET LOCAL synchronous_commit = off; {leave}\
         ALTER DATABASE {database} OWNER TO {owner}; \
         REVOKE ALL ON DATABASE {database} FROM PUBLIC; \
         GRANT ALL ON DATABASE {database} TO {owner}; \
         ALTER ROLE {owner} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS; \
         ALTER DATABASE {database} ALLOW_CONNECTIONS true CONNECTION LIMIT -1 IS_TEMPLATE false"
    );
    admin.run(lock_down).await.map_err(attempt())
}

/// Removes an instance with all its data, its owner, and what is left of its bindings.
pub(crate) async fn deprovision(admin: &Admin, instance: &InstanceSpec) -> Result<(), EngineError> {
    let (database, owner) = (database(&instance.id), owner(&instance.id));
    let attempt = || failed(format!("instance {} could not be removed", instance.id));
    // Its owner, whoever is a member of it, and whoever may connect because of their statements.
    let roles: Vec<String> = sqlx::query_scalar(
        "SELECT member.rolname::text FROM pg_roles owner \
         JOIN pg_auth_members ON roleid = owner.oid JOIN pg_roles member ON member.oid = pg_auth_members.member \
         WHERE owner.rolname = $1 AND member.rolname ~ '^[bs]_' \
         UNION SELECT rolname::text FROM pg_database, aclexplode(datacl) JOIN pg_roles ON pg_roles.oid = grantee \
         WHERE datname = $2 AND rolname ~ '^b_' \
         UNION SELECT rolname::text FROM pg_roles WHERE rolname = $1",
    )
    .bind(&owner)
    .bind(&database)
    .fetch_all(admin.pool())
    .await
    .map_err(attempt())?;
    // What a restore that was interrupted has left behind, too.
    for database in [database, new_database(&instance.id), old_database(&instance.id)] {
        drop_database(admin, &database).await?;
    }
    if roles.is_empty() {
        return Ok(());
    }
    admin.run(format!("DROP ROLE {}", roles.join(", "))).await.map_err(attempt())
}

/// Ends the sessions of a database and removes it; there being none is as good.
pub(crate) async fn drop_database(admin: &Admin, database: &str) -> Result<(), EngineError> {
    let attempt = || failed(format!("database {database} could not be removed"));
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !exists {
        return Ok(());
    }
    // Closed first: a client that reconnects faster than its session is ended would keep it alive.
    let close = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false IS_TEMPLATE false");
    admin.run(close).await.map_err(attempt())?;
    admin.run(format!("DROP DATABASE {database} WITH (FORCE)")).await.map_err(attempt())
}
