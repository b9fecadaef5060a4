//! The store: one handle over three drivers.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::claim::{Claim, ClaimError};
use crate::driver::{Driver, Service};
use crate::error::{Fault, FaultKind, OpenError, ReadError, WriteError};
use crate::migration::Migration;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::statement::Statement;
use crate::value::Row;

/// Where a store is kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// In memory: gone with the last handle.
    InMemory,
    /// In `<service>.sqlite` of a directory, which exists.
    Directory(PathBuf),
    /// In the schema `mainstay_<service>` of the database that a PostgreSQL URI names.
    Postgres(SecretString),
}

/// A service's tables. A clone is another handle to the same store.
#[derive(Clone)]
pub struct Store {
    service: Service,
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

// === impl Location ===

impl Location {
    /// The driver that keeps a store there.
    pub fn driver(&self) -> Driver {
        match self {
            Self::InMemory => Driver::InMemory,
            Self::Directory(_) => Driver::Filesystem,
            Self::Postgres(_) => Driver::Postgres,
        }
    }
}

// === impl Store ===

impl Store {
    /// Opens a service's store, makes it where there is none, and brings its schema up to date.
    pub async fn open(location: &Location, service: Service, schema: &'static [Migration]) -> Result<Self, OpenError> {
        let backend = match location {
            Location::InMemory => Backend::Sqlite(Sqlite::open_in_memory(service, schema).await?),
            Location::Directory(directory) => Backend::Sqlite(Sqlite::open_file(directory, service, schema).await?),
            Location::Postgres(uri) => Backend::Postgres(Postgres::open(uri, service, schema).await?),
        };
        Ok(Self { service, backend })
    }

    /// Claims the store for one control plane, whose name others are told for as long as the claim is held.
    ///
    /// In PostgreSQL the claim is a lock that a connection of its own holds. It waits a few seconds for somebody
    /// else's, since the server may not have noticed yet that a predecessor was killed. Where the connection is lost,
    /// the claim is made again as soon as the server answers, and an error is logged where somebody else was faster:
    /// it keeps two control planes from working against each other, and is no protection for writes, which have their
    /// expectations. A database behind a pooler that shares sessions can not be claimed reliably.
    ///
    /// In SQLite there is nothing to do: the files are in a data directory, which has a lock of its own, and nobody
    /// else sees this process's memory.
    pub async fn claim(&self, holder: &str) -> Result<Claim, ClaimError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Claim::of_nothing()),
            Backend::Postgres(postgres) => postgres.claim(holder).await,
        }
    }

    /// Runs statements as one transaction, which is durable when this returns.
    ///
    /// Transactions are serializable. Where this fails, nothing is stored; [`WriteError::OutcomeUnknown`] is the
    /// exception. A call that is dropped before it returns may still be carried out.
    pub async fn write(&self, statements: Vec<Statement>) -> Result<(), WriteError> {
        for (index, statement) in statements.iter().enumerate() {
            if let Err(reason) = statement.check() {
                return Err(Fault::new(FaultKind::Other, reason).on_write(self.service, index));
            }
        }
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.write(statements).await,
            // In a box: a round trip costs far more, and the future of every caller would hold room for it.
            Backend::Postgres(postgres) => Box::pin(postgres.write(statements)).await,
        }
    }

    /// Answers a question. A statement that would change something is refused.
    pub async fn read(&self, statement: Statement) -> Result<Vec<Row>, ReadError> {
        if let Err(reason) = statement.check() {
            return Err(Fault::new(FaultKind::Other, reason).on_read(self.service));
        }
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read(statement).await,
            Backend::Postgres(postgres) => Box::pin(postgres.read(statement)).await,
        }
    }

    /// Whether the store answers now.
    pub async fn health(&self) -> Result<(), ReadError> {
        self.read(Statement::new("SELECT version FROM migrations LIMIT 1", [])).await.map(drop)
    }

    /// Finishes what was begun, brings the files into order and gives up the connections. Later calls fail.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Whose store it is.
    pub fn service(&self) -> Service {
        self.service
    }
}
