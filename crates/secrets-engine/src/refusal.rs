//! Why a backend did not do what it was asked.

use mainstay_custody::{BarrierError, CommitError};

/// An error's cause, of whatever type.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not carried out. What it says goes to the client; the cause of a fault goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// 400: something in the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// 403.
    #[error("permission denied")]
    Denied,
    /// 403 with a reason that may be told.
    #[error("{0}")]
    Forbidden(String),
    /// 404 without a word: there is nothing at the path.
    #[error("")]
    NotFound,
    /// 404: the backend has no such path.
    #[error("unsupported path")]
    UnsupportedPath,
    /// 404: nothing is mounted there.
    #[error("no handler for route {0:?}. route entry not found.")]
    NoHandler(String),
    /// 405.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// 429: too many failures; the client is to wait.
    #[error("{0}")]
    TooMany(String),
    /// 500: custody or something that it stands on failed.
    #[error("{what}")]
    Failed {
        what: String,
        #[source]
        source: Option<Fault>,
    },
    /// 503: it may work later.
    #[error("{what}")]
    Unavailable {
        what: String,
        #[source]
        source: Option<Fault>,
    },
}

impl Refusal {
    /// Something in the request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// Something that custody stands on failed.
    pub fn failed(what: impl Into<String>, source: impl Into<Fault>) -> Self {
        Self::Failed { what: what.into(), source: Some(source.into()) }
    }

    /// It may work later.
    pub fn unavailable(what: impl Into<String>, source: impl Into<Fault>) -> Self {
        Self::Unavailable { what: what.into(), source: Some(source.into()) }
    }
}

impl From<BarrierError> for Refusal {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Sealed => Self::Unavailable { what: "Vault is sealed".to_owned(), source: None },
            BarrierError::TooLarge { .. } | BarrierError::InvalidPath { .. } => Self::Invalid(error.to_string()),
            error => Self::failed("custody's storage failed", error),
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Barrier(error) => error.into(),
            conflict => Self::unavailable("changed by another request at the same time; try again", conflict),
        }
    }
}
