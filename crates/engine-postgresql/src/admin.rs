//! Our connections to a server: as its superuser, over the Unix socket, without a password.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::EngineError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::names::{ADMIN_DATABASE, ADMIN_ROLE};

/// Connections kept to a cluster. Provisioning waits for the disk most of the time, which four share well; the
/// server keeps `superuser_reserved_connections` for them.
const POOL_SIZE: u32 = 4;
/// The longest that a statement of ours runs. Dropping a database removes files without end.
const STATEMENT_TIMEOUT: &str = "120s";
/// The longest that a statement of ours waits for somebody else's lock.
const LOCK_TIMEOUT: &str = "10s";
/// The longest that we wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// When a connection that nobody uses is closed, so that an idle cluster has an idle server.
const IDLE: Duration = Duration::from_secs(300);

/// The way to a server. Connections are made when they are needed, and made anew when they broke.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    options: PgConnectOptions,
    pool: PgPool,
}

impl Admin {
    /// The way to the server with this socket directory and port.
    pub fn new(socket_directory: &Path, port: u16) -> Self {
        // Everything that the library would take from our environment is said, so that nothing comes from there.
        let options = PgConnectOptions::new_without_pgpass()
            .socket(socket_directory)
            .port(port)
            .username(ADMIN_ROLE)
            .database(ADMIN_DATABASE)
            .ssl_mode(PgSslMode::Disable)
            .application_name("mainstay")
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                ("lock_timeout", LOCK_TIMEOUT),
                // That a role is a member already is no news, and would be logged each time.
                ("client_min_messages", "warning"),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(POOL_SIZE)
            .acquire_timeout(CONNECT_PATIENCE)
            .idle_timeout(IDLE)
            .connect_lazy_with(options.clone());
        Self { options, pool }
    }

    /// The connections to the database that is ours.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of its own to another database.
    pub async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        // What its tenant has set for the database is not for us: to be another role, or to change nothing.
        let options = self.options.clone().database(database).options([
            ("role", "none"),
            ("search_path", "pg_catalog"),
            ("default_transaction_read_only", "off"),
        ]);
        let connecting = PgConnection::connect_with(&options);
        tokio::time::timeout(CONNECT_PATIENCE, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Runs statements in one round trip. Several of them are one transaction.
    ///
    /// The text is made of names that need no quoting (see [`crate::names`]) and of numbers.
    pub async fn run(&self, statements: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&self.pool).await.map(drop)
    }
}

/// Runs statements on a connection of its own, as [`Admin::run`] does.
pub(crate) async fn run_on(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}

/// Says what was attempted when the server or the way to it failed. What was wrong may be right in a moment:
/// a server starts anew, a disk gets room.
pub(crate) fn failed(attempt: impl Into<String>) -> impl FnOnce(sqlx::Error) -> EngineError {
    move |error| EngineError::transient_from(attempt, error)
}
