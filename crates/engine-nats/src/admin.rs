//! What we ask the server, over connections of our own.

use std::net::SocketAddr;
use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions};
use mainstay_engine::EngineError;
use mainstay_engine::supervise::listener_owner;
use mainstay_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::install::confines_accounts;
use crate::names::SYSTEM_USER;

/// How long a connection may take: the server checks a password and answers.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take. The largest, of an account with ten thousand streams, takes a second.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are listed at once: one message of some 500 KB.
const PAGE: usize = 1_024;

/// A connection as the server's own user, made when it is first needed and again when it broke.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
    /// Who the server runs as.
    uid: u32,
    client: Mutex<Option<Client>>,
    /// The version of the server, as it was last told; none until it was.
    version: StdMutex<Option<String>>,
}

/// The server's figures about itself (`VARZ`), as far as they are of use.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ServerFigures {
    pub version: String,
    pub config_load_time: Timestamp,
    pub max_connections: u64,
    pub connections: u64,
    pub total_connections: u64,
    pub subscriptions: u64,
    pub in_msgs: u64,
    pub out_msgs: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
    pub slow_consumers: u64,
    pub mem: u64,
}

/// The server's figures about all streams (`JSZ`).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamFigures {
    pub memory: u64,
    pub storage: u64,
    pub streams: u64,
    pub consumers: u64,
    pub messages: u64,
}

/// An open connection (`CONNZ`).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Connection {
    #[serde(default)]
    pub authorized_user: String,
}

/// What the server wraps its answers in: one of the two.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<AnswerError>,
}

#[derive(Debug, Deserialize)]
struct AnswerError {
    description: String,
}

/// Why the server did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("the server could not be connected to at {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: async_nats::ConnectError,
    },
    #[error("another user's program listens at {address} instead of the server")]
    Stranger { address: SocketAddr },
    #[error("the server did not answer {subject}")]
    Request {
        subject: String,
        #[source]
        source: async_nats::RequestError,
    },
    #[error("the server's answer to {subject} is not understood")]
    Answer {
        subject: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the server refused {subject}: {reason}")]
    Refused { subject: String, reason: String },
}

impl From<AdminError> for EngineError {
    fn from(error: AdminError) -> Self {
        EngineError::transient_from("the NATS server could not be asked", error)
    }
}

impl Admin {
    /// Connections to the server at this address, run by this user. None is made yet.
    pub fn new(address: SocketAddr, uid: u32) -> Self {
        Self { address, uid, client: Mutex::default(), version: StdMutex::default() }
    }

    /// A connection as one of our users. Another user's program that listens there instead is told no secret.
    pub async fn connect(&self, user: &str, secret: &SecretString) -> Result<Client, AdminError> {
        let address = self.address;
        match listener_owner(address) {
            Some(owner) if owner != self.uid => Err(AdminError::Stranger { address }),
            _ => connect(address, user, secret).await,
        }
    }

    /// Forgets the connection, which is to a server that ended or may have.
    pub async fn disconnect(&self) {
        *self.client.lock().await = None;
    }

    /// The server's figures about itself.
    pub async fn server(&self, secret: &SecretString) -> Result<ServerFigures, AdminError> {
        let figures: ServerFigures = self.ask(secret, "$SYS.REQ.SERVER.PING.VARZ", "").await?;
        self.expect_version(&figures.version);
        Ok(figures)
    }

    /// A server of this version answers from now on.
    pub fn expect_version(&self, version: &str) {
        let mut known = self.version();
        if known.as_deref() != Some(version) {
            *known = Some(version.to_owned());
        }
    }

    /// Whether the server's version is known.
    pub fn knows_version(&self) -> bool {
        self.version().is_some()
    }

    /// Whether the server lets no account ask for what is about the whole server; not where its version is not known.
    pub fn confines_accounts(&self) -> bool {
        self.version().as_deref().is_some_and(confines_accounts)
    }

    fn version(&self) -> MutexGuard<'_, Option<String>> {
        // A change is one assignment, which a panic does not leave half-done.
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's figures about all streams.
    pub async fn streams(&self, secret: &SecretString) -> Result<StreamFigures, AdminError> {
        self.ask(secret, "$SYS.REQ.SERVER.PING.JSZ", "").await
    }

    /// The accounts that the server knows.
    pub async fn accounts(&self, secret: &SecretString) -> Result<Vec<String>, AdminError> {
        #[derive(Deserialize)]
        struct Accounts {
            accounts: Vec<String>,
        }
        let answer: Accounts = self.ask(secret, "$SYS.REQ.SERVER.PING.ACCOUNTZ", "").await?;
        Ok(answer.accounts)
    }

    /// All connections that are open.
    pub async fn connections(&self, secret: &SecretString) -> Result<Vec<Connection>, AdminError> {
        #[derive(Deserialize)]
        struct Connections {
            total: usize,
            connections: Vec<Connection>,
        }
        let mut found = Vec::new();
        loop {
            let options = format!(r#"{{"auth":true,"limit":{PAGE},"offset":{}}}"#, found.len());
            let page: Connections = self.ask(secret, "$SYS.REQ.SERVER.PING.CONNZ", &options).await?;
            let is_last = page.connections.is_empty() || found.len() + page.connections.len() >= page.total;
            found.extend(page.connections);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// The names of an account's streams.
    pub async fn streams_of(&self, secret: &SecretString, account: &str) -> Result<Vec<String>, AdminError> {
        #[derive(Deserialize)]
        struct Streams {
            #[serde(default)]
            stream_detail: Vec<Stream>,
        }
        #[derive(Deserialize)]
        struct Stream {
            name: String,
        }
        let subject = format!("$SYS.REQ.ACCOUNT.{account}.JSZ");
        let answer: Streams = self.ask(secret, &subject, r#"{"streams":true}"#).await?;
        Ok(answer.stream_detail.into_iter().map(|stream| stream.name).collect())
    }

    /// Deletes all streams of an account with what they hold, also those that are on disk alone.
    pub async fn purge(&self, secret: &SecretString, account: &str) -> Result<(), AdminError> {
        #[derive(Deserialize)]
        struct Purge {
            #[serde(default)]
            initiated: bool,
            error: Option<AnswerError>,
        }
        let subject = format!("$JS.API.ACCOUNT.PURGE.{account}");
        let answer: Purge = self.request(secret, &subject, "").await?;
        if answer.initiated && answer.error.is_none() {
            return Ok(());
        }
        let reason = answer.error.map_or_else(|| "it was not begun".to_owned(), |error| error.description);
        Err(AdminError::Refused { subject, reason })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        secret: &SecretString,
        subject: &str,
        data: &str,
    ) -> Result<T, AdminError> {
        let answer: Answer<T> = self.request(secret, subject, data).await?;
        let reason = answer.error.map_or_else(|| "it has no data".to_owned(), |error| error.description);
        answer.data.ok_or_else(|| AdminError::Refused { subject: subject.to_owned(), reason })
    }

    async fn request<T: DeserializeOwned>(
        &self,
        secret: &SecretString,
        subject: &str,
        data: &str,
    ) -> Result<T, AdminError> {
        let mut client = self.client.lock().await;
        let connected = match client.take().filter(|client| client.connection_state() == State::Connected) {
            Some(connected) => connected,
            None => self.connect(SYSTEM_USER, secret).await?,
        };
        *client = Some(connected.clone());
        drop(client);
        let answer = request(&connected, subject, data).await;
        if answer.is_err() {
            self.disconnect().await;
        }
        answer
    }
}

async fn connect(address: SocketAddr, user: &str, secret: &SecretString) -> Result<Client, AdminError> {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), secret.expose_secret().to_owned())
        .name("mainstay")
        .connection_timeout(CONNECT_PATIENCE)
        .request_timeout(Some(ANSWER_PATIENCE))
        // A connection that broke is made anew by whoever asks next, and by nobody when the server is stopped.
        .max_reconnects(1)
        .ignore_discovered_servers();
    options.connect(format!("nats://{address}")).await.map_err(|source| AdminError::Connect { address, source })
}

/// Asks one thing. What is not there to answer says so at once.
pub(crate) async fn request<T: DeserializeOwned>(client: &Client, subject: &str, data: &str) -> Result<T, AdminError> {
    let answered = client.request(subject.to_owned(), data.to_owned().into()).await;
    let message = answered.map_err(|source| AdminError::Request { subject: subject.to_owned(), source })?;
    serde_json::from_slice(&message.payload)
        .map_err(|source| AdminError::Answer { subject: subject.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Admin, AdminError};

    #[tokio::test]
    async fn another_users_listener_is_told_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, uid) = (listener.local_addr().unwrap(), rustix::process::geteuid().as_raw());
        let asked = Admin::new(address, uid + 1).server(&"secret".into()).await;
        assert!(matches!(asked, Err(AdminError::Stranger { address: at }) if at == address), "{asked:?}");
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
