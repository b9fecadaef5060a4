//! The database that instances are copied from, and the databases that no tenant may enter.

use mainstay_engine::EngineError;
use sqlx::Connection;

use crate::admin::{Admin, failed, run_on};
use crate::names::TEMPLATE_DATABASE;

/// Prepares a new server, and does nothing on one that is prepared.
///
/// Instances are copied from `template1`, which is ours on a server that is ours: a database of our own would cost
/// each new cluster as much again as its first instance. That it takes no connections is set last, and so says that
/// everything else was done.
pub(crate) async fn prepare(admin: &Admin) -> Result<(), EngineError> {
    let attempt = || failed("the template of new databases could not be prepared");
    let open: bool = sqlx::query_scalar("SELECT datallowconn FROM pg_database WHERE datname = $1")
        .bind(TEMPLATE_DATABASE)
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !open {
        return Ok(());
    }
    let mut connection = admin.connect(TEMPLATE_DATABASE).await.map_err(attempt())?;
    // The owner of a database has every right in its schema `public` as a member of `pg_database_owner`.
    run_on(&mut connection, "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned()).await.map_err(attempt())?;
    connection.close().await.map_err(attempt())?;
    admin
        .run(format!(
            "REVOKE ALL ON DATABASE postgres, {TEMPLATE_DATABASE} FROM PUBLIC; \
             ALTER DATABASE {TEMPLATE_DATABASE} ALLOW_CONNECTIONS false"
        ))
        .await
        .map_err(attempt())
}
