//! The driver `postgres`: one schema per service in a database of PostgreSQL 15 or newer.

mod claim;
mod execute;
mod fault;
mod open;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::claim::{Claim, ClaimError};
use crate::driver::Service;
use crate::error::{Fault, FaultKind, OpenError, ReadError, WriteError};
use crate::migration::Migration;
use crate::statement::Statement;
use crate::value::Row;

/// The oldest server that the statements and the tests are written for.
pub(crate) const OLDEST_MAJOR_VERSION: u32 = 15;

/// Connections that write. The journal has one writer and custody few; they queue here rather than on row locks.
const WRITERS: u32 = 2;

/// Connections that read, apart from the writers, so that a follower's pages do not delay an append.
const READERS: u32 = 2;

/// How long to wait for a connection, new or returned. Longer than a server takes to fail over a TCP handshake,
/// shorter than a caller's patience.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait for a connection before asking whether the server refuses them: longer than connecting takes and
/// most transactions do, and short enough that whoever waits two seconds for an answer, as readiness does, gets one.
const REFUSAL_GRACE: Duration = Duration::from_millis(500);

/// How long the server may take for one statement, as it is told.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(20);

/// How long this side waits for a whole transaction or answer, in case the server or the network is silent.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How often a transaction is run again because another one was in the way. Two control planes on one store meet
/// now and then; who loses this often in a row is told to come back later.
const SERIALIZATION_TRIES: usize = 10;

/// A store in PostgreSQL.
#[derive(Clone)]
pub(crate) struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    writers: PgPool,
    readers: PgPool,
    /// Held while the server is asked whether it refuses connections, by one of those who wait for the others.
    asking: Mutex<()>,
}

// === impl Postgres ===

impl Postgres {
    pub async fn open(uri: &SecretString, service: Service, schema: &[Migration]) -> Result<Self, OpenError> {
        let options = open::parse(uri, service)?;
        open::prepare(&options, service, schema).await?;
        let writers = open::pool(&options, service, WRITERS, "off");
        let readers = open::pool(&options, service, READERS, "on");
        Ok(Self { inner: Arc::new(Inner { service, writers, readers, asking: Mutex::new(()) }) })
    }

    /// The work goes on where the caller drops this future, so that no connection is left inside a transaction.
    pub async fn write(&self, statements: Vec<Statement>) -> Result<(), WriteError> {
        let inner = self.inner.clone();
        match tokio::spawn(async move { inner.write(&statements).await }).await {
            Ok(result) => result,
            Err(error) => Err(WriteError::OutcomeUnknown { service: self.inner.service, source: error.into() }),
        }
    }

    pub async fn read(&self, statement: Statement) -> Result<Vec<Row>, ReadError> {
        self.inner.read(&statement).await.map_err(|fault| fault.on_read(self.inner.service))
    }

    pub async fn claim(&self, holder: &str) -> Result<Claim, ClaimError> {
        claim::claim(self.inner.service, &self.inner.writers.connect_options(), holder).await
    }

    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writers.close().await;
    }
}

// === impl Inner ===

impl Inner {
    async fn write(&self, statements: &[Statement]) -> Result<(), WriteError> {
        for _ in 1..SERIALIZATION_TRIES {
            if let Some(result) = self.try_write(statements).await {
                return result;
            }
        }
        self.try_write(statements).await.unwrap_or_else(|| {
            let reason = "other transactions were in the way too often";
            Err(Fault::new(FaultKind::Unavailable, reason).on_write(self.service, 0))
        })
    }

    /// Nothing, where another transaction was in the way.
    async fn try_write(&self, statements: &[Statement]) -> Option<Result<(), WriteError>> {
        let mut connection = match self.connection(&self.writers).await {
            Ok(connection) => connection,
            Err(fault) => return Some(Err(fault.on_write(self.service, 0))),
        };
        let result = timeout(ANSWER_DEADLINE, execute::transaction(self.service, &mut connection, statements)).await;
        let failure = match result {
            Ok(Ok(())) => return Some(Ok(())),
            Ok(Err(failure)) => failure,
            Err(_) => execute::Failure::Lost(WriteError::OutcomeUnknown {
                service: self.service,
                source: silent(ANSWER_DEADLINE).cause,
            }),
        };
        match failure {
            // A connection that broke or stays silent is of no more use.
            execute::Failure::Lost(error) => {
                connection.close_on_drop();
                Some(Err(error))
            }
            execute::Failure::Refused(error) => Some(Err(error)),
            execute::Failure::InTheWay => None,
        }
    }

    async fn read(&self, statement: &Statement) -> Result<Vec<Row>, Fault> {
        let mut connection = self.connection(&self.readers).await?;
        match timeout(ANSWER_DEADLINE, execute::query(&mut connection, statement)).await {
            Ok(result) => result,
            Err(_) => {
                connection.close_on_drop();
                Err(silent(ANSWER_DEADLINE))
            }
        }
    }

    /// A connection of a pool. The pool itself goes on trying a server that refuses connections until its deadline,
    /// and then does not say why.
    async fn connection(&self, pool: &PgPool) -> Result<PoolConnection<sqlx::Postgres>, Fault> {
        let mut acquiring = pin!(pool.acquire());
        if let Ok(result) = timeout(REFUSAL_GRACE, &mut acquiring).await {
            return Ok(result?);
        }
        tokio::select! {
            result = &mut acquiring => Ok(result?),
            refusal = self.refusal(pool) => Err(refusal),
        }
    }

    /// Why the server refuses connections. Waits forever where it does not: then the pool is only busy.
    async fn refusal(&self, pool: &PgPool) -> Fault {
        let asking = self.asking.lock().await;
        match pool.connect_options().connect().await {
            Ok(connection) => {
                let _ = connection.close().await;
                drop(asking);
                std::future::pending().await
            }
            Err(error) => error.into(),
        }
    }
}

/// What is known of a server that has let a deadline pass.
fn silent(deadline: Duration) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("the server has not answered for {} seconds", deadline.as_secs()))
}
