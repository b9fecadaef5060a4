//! Our connection to a server: over its Unix socket, as the user that may everything.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, admin_secret, sync_file};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::data::USERS;
use crate::user::ADMIN;

/// The longest that a server may take to accept us.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// The longest that a command of ours may take: saving users waits for a disk.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// The way to a server. One connection carries everything and stays, so that a server whose clients took all connections still
/// hears us; it is made anew when it broke.
#[derive(Debug)]
pub(crate) struct Admin {
    directory: ClusterDirectory,
    connection: Mutex<Option<Connection>>,
    saves: Saves,
}

/// Changes of users that wait for the file, gathered: a save covers all changes that came before it began.
#[derive(Debug, Default)]
struct Saves {
    asked: AtomicU64,
    done: Mutex<u64>,
}

#[derive(Clone)]
struct Connection(MultiplexedConnection);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Admin {
    /// The way to the server of the cluster in this directory.
    pub fn new(directory: ClusterDirectory) -> Self {
        Self { directory, connection: Mutex::default(), saves: Saves::default() }
    }

    /// The socket that we come by.
    pub fn socket(directory: &ClusterDirectory) -> PathBuf {
        directory.run().join("admin.sock")
    }

    /// Forgets the connection to a server that has ended.
    pub async fn forget(&self) {
        *self.connection.lock().await = None;
    }

    /// The answer to a command.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection.0).await;
        self.heard(answer).await
    }

    /// The answers to several commands, sent at once.
    pub async fn query_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let mut connection = self.connection().await?;
        let answer = commands.query_async(&mut connection.0).await;
        self.heard(answer).await
    }

    /// Puts the users on disk, in one write with all who ask for it meanwhile.
    ///
    /// Redis 7.0 leaves it to the system when its file gets there: a machine that lost its power could come back with a user who was
    /// removed, or without those that stand for instances. Where the server waits for the disk itself, as Valkey does, little is left to do.
    pub async fn save_users(&self) -> Result<(), RedisError> {
        let ticket = self.saves.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.saves.done.lock().await;
        if *done >= ticket {
            return Ok(());
        }
        // Who asked by now has made its change by now.
        let covered = self.saves.asked.load(Ordering::SeqCst);
        self.query::<()>(redis::cmd("ACL").arg("SAVE")).await?;
        let data = self.directory.data();
        tokio::task::spawn_blocking(move || sync_file(&data, USERS)).await.map_err(std::io::Error::other)??;
        *done = covered;
        Ok(())
    }

    async fn heard<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &answer
            && (error.is_io_error())
        {
            self.forget().await;
        }
        answer
    }

    async fn connection(&self) -> Result<Connection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        Ok(held.insert(Connection(self.connect_apart(0).await?)).clone())
    }

    /// A connection for one purpose, to one of the server's databases.
    pub async fn connect_apart(&self, database: u64) -> Result<MultiplexedConnection, RedisError> {
        let secret = admin_secret(&self.directory)
            .map_err(|error| std::io::Error::other(format!("who we are could not be proved: {error}")))?;
        let settings = RedisConnectionInfo::default()
            .set_username(ADMIN)
            .set_password(secret.expose_secret())
            .set_skip_set_lib_name()
            .set_db(i64::try_from(database).unwrap_or(0));
        let address = ConnectionAddr::Unix(Self::socket(&self.directory)).into_connection_info()?;
        let client = Client::open(address.set_redis_settings(settings))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(Some(ANSWER_PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // Ours is not the connection that goes when clients' buffers take too much.
        redis::cmd("CLIENT").arg("NO-EVICT").arg("ON").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }
}

/// The form in which a server keeps a password, and in which it is sent: no password travels.
pub(crate) fn hashed(password: &SecretString) -> String {
    let hash = digest(&SHA256, password.expose_secret().as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says what was attempted when a server or the way to it failed. What was wrong may be right in a moment.
pub(crate) fn failed(attempt: impl Into<String>) -> impl FnOnce(RedisError) -> EngineError {
    move |error| EngineError::transient_from(attempt, error)
}
