//! Errors, told apart by what a caller can do.

use crate::driver::Service;

/// What lies beneath an error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a transaction was not stored. Nothing of it is in the store, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No room: writes work again when there is.
    #[error("the storage of {service} is full; make room on its disk")]
    Full {
        service: Service,
        #[source]
        source: Cause,
    },
    /// The database does not answer, or not in time. It may work when it is tried again.
    #[error("the storage of {service} is not available; see that its database runs and can be reached")]
    Unavailable {
        service: Service,
        #[source]
        source: Cause,
    },
    /// The answer to the commit was lost: the transaction is stored whole or not at all, and the caller has to look.
    #[error("the storage of {service} did not confirm a change; it is stored whole or not at all")]
    OutcomeUnknown {
        service: Service,
        #[source]
        source: Cause,
    },
    /// A statement, counted from 0, touched another number of rows than it said: somebody else was faster.
    #[error("statement {statement} was to touch {expected} rows and touched {found}")]
    ExpectationNotMet { statement: usize, expected: u64, found: u64 },
    /// A statement, counted from 0, would have broken a constraint of its table, such as a unique key.
    #[error("statement {statement} breaks a constraint of the storage of {service}")]
    Constraint {
        statement: usize,
        service: Service,
        #[source]
        source: Cause,
    },
    /// The stored data is damaged.
    #[error("the storage of {service} is damaged; restore it from a backup")]
    Corrupt {
        service: Service,
        #[source]
        source: Cause,
    },
    /// A mistake in the statement, or a fault that nobody foresaw.
    #[error("statement {statement} failed on the storage of {service}")]
    Other {
        statement: usize,
        service: Service,
        #[source]
        source: Cause,
    },
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database does not answer, or not in time. It may work when it is tried again.
    #[error("the storage of {service} is not available; see that its database runs and can be reached")]
    Unavailable {
        service: Service,
        #[source]
        source: Cause,
    },
    /// The stored data is damaged.
    #[error("the storage of {service} is damaged; restore it from a backup")]
    Corrupt {
        service: Service,
        #[source]
        source: Cause,
    },
    /// A mistake in the statement, or a fault that nobody foresaw.
    #[error("a question to the storage failed")]
    Other {
        #[source]
        source: Cause,
    },
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection string is not one.
    #[error(
        "the connection string of {service} is not a PostgreSQL URI; write it as postgresql://user:password@host:5432/database"
    )]
    InvalidUri {
        service: Service,
        #[source]
        source: Cause,
    },
    /// The directory or the server cannot be used now.
    #[error("the storage of {service} at {place} cannot be opened")]
    Unavailable {
        service: Service,
        place: String,
        #[source]
        source: Cause,
    },
    /// There is no room to open it.
    #[error("the storage of {service} at {place} is full; make room on its disk")]
    Full {
        service: Service,
        place: String,
        #[source]
        source: Cause,
    },
    /// The server is too old.
    #[error(
        "the PostgreSQL server of {service} is version {found}; use {} or newer",
        crate::postgres::OLDEST_MAJOR_VERSION
    )]
    ServerTooOld { service: Service, found: String },
    /// A newer Mainstay has migrated it.
    #[error(
        "the storage of {service} has schema version {found}, and this Mainstay knows up to {known}; \
         use the Mainstay that wrote it, or a newer one"
    )]
    Newer { service: Service, found: u32, known: u32 },
    /// Its history is not the history that this Mainstay knows.
    #[error(
        "schema version {version} of the storage of {service} is not the one that this Mainstay knows; \
         it was changed by hand or by an unreleased build: restore it from a backup, or use that build"
    )]
    ForeignMigration { service: Service, version: u32 },
    /// A migration failed; the store is as it was before it.
    #[error("migration {version} ({name}) of the storage of {service} failed and was undone")]
    Migration {
        service: Service,
        version: u32,
        name: &'static str,
        #[source]
        source: Cause,
    },
    /// A table would behave differently on another driver.
    #[error("the schema of {service} is not portable: {reason}")]
    NotPortable { service: Service, reason: String },
    /// The stored data is damaged.
    #[error("the storage of {service} at {place} is damaged or no store of Mainstay; restore it from a backup")]
    Corrupt {
        service: Service,
        place: String,
        #[source]
        source: Cause,
    },
}

/// A driver's error, sorted by what can be done about it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub kind: FaultKind,
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Full,
    Unavailable,
    Constraint,
    Corrupt,
    /// Another transaction was in the way; the same statements may go through when they are run again.
    Serialization,
    Other,
}

// === impl Fault ===

impl Fault {
    pub fn new(kind: FaultKind, cause: impl Into<Cause>) -> Self {
        Self { kind, cause: cause.into() }
    }

    /// The error of the statement at an index of a transaction.
    pub fn on_write(self, service: Service, statement: usize) -> WriteError {
        let source = self.cause;
        match self.kind {
            FaultKind::Full => WriteError::Full { service, source },
            FaultKind::Unavailable | FaultKind::Serialization => WriteError::Unavailable { service, source },
            FaultKind::Constraint => WriteError::Constraint { statement, service, source },
            FaultKind::Corrupt => WriteError::Corrupt { service, source },
            FaultKind::Other => WriteError::Other { statement, service, source },
        }
    }

    /// The error of a question.
    pub fn on_read(self, service: Service) -> ReadError {
        let source = self.cause;
        match self.kind {
            FaultKind::Full | FaultKind::Unavailable | FaultKind::Serialization => {
                ReadError::Unavailable { service, source }
            }
            FaultKind::Corrupt => ReadError::Corrupt { service, source },
            FaultKind::Constraint | FaultKind::Other => ReadError::Other { source },
        }
    }

    /// The error of opening a store.
    pub fn on_open(self, service: Service, place: &str) -> OpenError {
        let (place, source) = (place.to_owned(), self.cause);
        match self.kind {
            FaultKind::Full => OpenError::Full { service, place, source },
            FaultKind::Corrupt => OpenError::Corrupt { service, place, source },
            _ => OpenError::Unavailable { service, place, source },
        }
    }
}

/// A reason in words, as a cause.
pub(crate) fn boxed(reason: impl Into<String>) -> Cause {
    reason.into().into()
}
