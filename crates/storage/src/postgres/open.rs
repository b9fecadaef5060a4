//! Connecting, its settings, and the schema.

use mainstay_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};
use tokio::time::timeout;

use super::{CONNECT_DEADLINE, OLDEST_MAJOR_VERSION, STATEMENT_DEADLINE};
use crate::driver::Service;
use crate::error::{Fault, FaultKind, OpenError, boxed};
use crate::migration::{Applied, Migration, digest, pending};

/// The advisory lock that migrations are made under, with the service's number added; the letters of "mainstay".
const MIGRATION_LOCK: i64 = 0x6d61_696e_7374_6179;

/// What a connection string means.
pub(crate) fn parse(uri: &SecretString, service: Service) -> Result<PgConnectOptions, OpenError> {
    let invalid = |source| OpenError::InvalidUri { service, source };
    let text = uri.expose_secret();
    if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
        return Err(invalid(boxed("it does not begin with postgresql://")));
    }
    let options: PgConnectOptions = text.parse().map_err(|error| invalid(Fault::from(error).cause))?;
    Ok(options.application_name(application_name(service)).disable_statement_logging())
}

/// Connections that are made when they are needed, so that a server that is away now may come back.
pub(crate) fn pool(options: &PgConnectOptions, service: Service, connections: u32, read_only: &'static str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_DEADLINE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                configure(connection, service).await?;
                set(connection, "default_transaction_read_only", read_only).await
            })
        })
        .connect_lazy_with(options.clone())
}

/// Checks the server, makes the schema where there is none, and brings it up to date.
pub(crate) async fn prepare(
    options: &PgConnectOptions,
    service: Service,
    schema: &[Migration],
) -> Result<(), OpenError> {
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let refuse = |fault: Fault| fault.on_open(service, &place);
    let mut connection = match timeout(CONNECT_DEADLINE, options.connect()).await {
        Ok(result) => result.map_err(|error| refuse(error.into()))?,
        Err(_) => return Err(refuse(Fault::new(FaultKind::Unavailable, "the server does not answer"))),
    };
    check_version(&connection, service)?;
    create_schema(&mut connection, service).await.map_err(refuse)?;
    let applied = applied(&mut connection).await.map_err(refuse)?;
    for migration in pending(service, schema, |migration| migration.postgres, &applied)? {
        apply(&mut connection, migration).await.map_err(|fault| match fault.kind {
            FaultKind::Full | FaultKind::Unavailable => refuse(fault),
            _ => {
                OpenError::Migration { service, version: migration.version, name: migration.name, source: fault.cause }
            }
        })?;
    }
    if let Some(reason) = not_portable(&mut connection).await.map_err(refuse)? {
        return Err(OpenError::NotPortable { service, reason });
    }
    // Closing gives the lock back; where the server has gone meanwhile, it has done so itself.
    let _ = connection.close().await;
    Ok(())
}

fn check_version(connection: &PgConnection, service: Service) -> Result<(), OpenError> {
    match connection.server_version_num() {
        Some(number) if number / 10_000 >= OLDEST_MAJOR_VERSION => Ok(()),
        number => {
            let found = number.map_or("unknown".to_owned(), |number| (number / 10_000).to_string());
            Err(OpenError::ServerTooOld { service, found })
        }
    }
}

/// Two processes that open the same store migrate one after the other.
async fn create_schema(connection: &mut PgConnection, service: Service) -> Result<(), Fault> {
    configure(connection, service).await?;
    let lock = MIGRATION_LOCK.wrapping_add(service as i64);
    sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut *connection).await?;
    let name = schema_name(service);
    let exists = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(name);
    if exists.fetch_optional(&mut *connection).await?.is_none() {
        // Asking first spares an account that may use the schema the right to make one.
        sqlx::raw_sql(create_schema_text(service)).execute(&mut *connection).await?;
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS migrations (
             version bigint PRIMARY KEY, name text COLLATE \"C\" NOT NULL, digest text COLLATE \"C\" NOT NULL,
             applied_at bigint NOT NULL
         )",
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, Fault> {
    let rows = sqlx::query("SELECT version, digest FROM migrations ORDER BY version").fetch_all(connection).await?;
    let applied = |row: &sqlx::postgres::PgRow| {
        let version: i64 = row.try_get(0)?;
        Ok(Applied { version: version.try_into().unwrap_or(u32::MAX), digest: row.try_get(1)? })
    };
    rows.iter().map(applied).collect()
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<(), Fault> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(migration.postgres).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO migrations (version, name, digest, applied_at) VALUES ($1, $2, $3, $4)")
        .bind(i64::from(migration.version))
        .bind(migration.name)
        .bind(digest(migration.postgres))
        .bind(Timestamp::now().as_micros())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// The first column that SQLite would treat differently.
async fn not_portable(connection: &mut PgConnection) -> Result<Option<String>, Fault> {
    let found = sqlx::query(
        "SELECT 'column ' || table_name || '.' || column_name || ' is not bigint, bytea or text COLLATE \"C\"'
         FROM information_schema.columns
         WHERE table_schema = current_schema()
           AND NOT (data_type IN ('bigint', 'bytea') OR (data_type = 'text' AND collation_name IS NOT DISTINCT FROM 'C'))
         ORDER BY table_name, ordinal_position LIMIT 1",
    );
    Ok(found.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?)
}

/// A server's own defaults may be anything; these are what the contract promises.
async fn configure(connection: &mut PgConnection, service: Service) -> Result<(), sqlx::Error> {
    let deadline = STATEMENT_DEADLINE.as_millis().to_string();
    set(connection, "search_path", schema_name(service)).await?;
    set(connection, "statement_timeout", &deadline).await?;
    set(connection, "lock_timeout", &deadline).await?;
    set(connection, "idle_in_transaction_session_timeout", &deadline).await?;
    set(connection, "synchronous_commit", "on").await
}

pub(crate) async fn set(connection: &mut PgConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query("SELECT set_config($1, $2, false)").bind(name).bind(value);
    query.execute(connection).await.map(drop)
}

pub(crate) const fn schema_name(service: Service) -> &'static str {
    match service {
        Service::Journal => "mainstay_journal",
        Service::Custody => "mainstay_custody",
        Service::Objects => "mainstay_objects",
        Service::Artifacts => "mainstay_artifacts",
    }
}

const fn create_schema_text(service: Service) -> &'static str {
    match service {
        Service::Journal => "CREATE SCHEMA mainstay_journal",
        Service::Custody => "CREATE SCHEMA mainstay_custody",
        Service::Objects => "CREATE SCHEMA mainstay_objects",
        Service::Artifacts => "CREATE SCHEMA mainstay_artifacts",
    }
}

/// What an administrator sees in `pg_stat_activity`: the name of the schema.
const fn application_name(service: Service) -> &'static str {
    schema_name(service)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::driver::Service;

    fn error(uri: &str) -> String {
        parse(&uri.to_owned().into(), Service::Journal).unwrap_err().to_string()
    }

    #[test]
    fn a_connection_string_is_a_uri() {
        assert!(parse(&"postgresql://u:p@localhost/db?sslmode=require".to_owned().into(), Service::Journal).is_ok());
        for bad in ["host=localhost password=hunter2", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d", ""] {
            assert!(!error(bad).contains("hunter2"), "{bad}");
        }
    }
}
