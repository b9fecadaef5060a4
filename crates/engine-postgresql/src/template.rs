//! The database that instances are copied from, and the databases that no tenant may enter.

use mainstay_engine::EngineError;
use sqlx::Connection;

use crate::admin::{Admin, failed, run_on};
use crate::names::TEMPLATE_DATABASE;

/// Prepares a new server, and does nothing on one that is prepared.
///
/// That the template is marked as one is the last step, and so says that all others were done.
pub(crate) async fn prepare(admin: &Admin) -> Result<(), EngineError> {
    let attempt = || failed("the template of new databases could not be prepared");
    let marked: Option<bool> = sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1")
        .bind(TEMPLATE_DATABASE)
        .fetch_optional(admin.pool())
        .await
        .map_err(attempt())?;
    match marked {
        Some(true) => return Ok(()),
        Some(false) => admin.run(format!("DROP DATABASE {TEMPLATE_DATABASE} WITH (FORCE)")).await.map_err(attempt())?,
        None => {}
    }
    admin
        .run(format!("CREATE DATABASE {TEMPLATE_DATABASE} TEMPLATE template0 STRATEGY wal_log"))
        .await
        .map_err(attempt())?;
    let mut connection = admin.connect(TEMPLATE_DATABASE).await.map_err(attempt())?;
    // The owner of a database has every right in its schema `public` as a member of `pg_database_owner`.
    run_on(&mut connection, "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned()).await.map_err(attempt())?;
    connection.close().await.map_err(attempt())?;
    admin
        .run(format!(
            "REVOKE ALL ON DATABASE postgres, template1, {TEMPLATE_DATABASE} FROM PUBLIC; \
             ALTER DATABASE {TEMPLATE_DATABASE} IS_TEMPLATE true ALLOW_CONNECTIONS false"
        ))
        .await
        .map_err(attempt())
}
