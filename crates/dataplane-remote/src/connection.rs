//! Connections to a daemon, and those that wait for the next call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_dataplane::Trouble;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::frame::{FrameReader, FrameWriter};
use crate::message::VERSION;
use crate::{ConnectError, peer};

/// Calls at the same time. Each has a connection of its own; a daemon takes twice as many, for a second client.
const CALLS: usize = 512;

/// Connections that wait for the next call: as many as the calls of a busy moment.
const IDLE: usize = 64;

/// How long a call may wait for others to end.
const TURN: Duration = Duration::from_secs(30);

/// How long a daemon may take to greet. It does nothing else then.
const GREETING: Duration = Duration::from_secs(10);

/// Connects to a daemon, as often as there are calls at the same time.
pub(crate) struct Connections {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    calls: Arc<Semaphore>,
}

/// A connection that no call uses.
pub(crate) struct Connection {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

/// A connection that one call uses. Given up before [`Lease::give_back`], it is closed, which tells the daemon.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    connections: Arc<Connections>,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), idle: Mutex::default(), calls: Arc::new(Semaphore::new(CALLS)) })
    }

    /// A connection for a call: one that waits for it, or a new one.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease, Trouble> {
        let turn = timeout(TURN, self.calls.clone().acquire_owned()).await;
        let busy = || Trouble::unavailable(format!("{CALLS} calls have been going on for {TURN:?}"));
        let turn = turn.map_err(|_| busy())?.expect("the semaphore is never closed");
        let connection = match self.idle() {
            Some(connection) => connection,
            None => self.connect().await.map_err(|error| Trouble::unavailable(chain(&error)))?,
        };
        Ok(Lease { connection, connections: self.clone(), _turn: turn })
    }

    pub(crate) async fn connect(&self) -> Result<Connection, ConnectError> {
        let path = || self.path.clone();
        let failed = |source| ConnectError::Socket { path: path(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(failed)?;
        let found = peer::uid(&stream).map_err(failed)?;
        if !peer::is_trusted(found) {
            return Err(ConnectError::Stranger { path: path(), found, own: peer::own_uid() });
        }
        let (reader, writer) = stream.into_split();
        let mut connection = Connection { reader: FrameReader::new(reader), writer: FrameWriter::new(writer) };
        match timeout(GREETING, connection.greet()).await {
            Ok(Ok(VERSION)) => Ok(connection),
            Ok(Ok(other)) => {
                let source = io::Error::other(format!("it speaks version {other}, and this is version {VERSION}"));
                Err(ConnectError::Version { path: path(), source })
            }
            Ok(Err(source)) if source.kind() == io::ErrorKind::InvalidData => {
                Err(ConnectError::Version { path: path(), source })
            }
            Ok(Err(source)) => Err(ConnectError::Silent { path: path(), source }),
            Err(_) => Err(ConnectError::Silent { path: path(), source: io::ErrorKind::TimedOut.into() }),
        }
    }

    /// A connection that is still one: a daemon that has gone has hung up.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.reader.is_stale() {
                return Some(connection);
            }
        }
        None
    }
}

impl Connection {
    async fn greet(&mut self) -> io::Result<u32> {
        self.writer.message(&VERSION).await?;
        self.reader.message().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Lease {
    /// Keeps the connection for the next call, now that this one is answered in full.
    pub(crate) fn give_back(self) {
        let mut idle = self.connections.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(self.connection);
        }
    }
}

/// An error with all that led to it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
