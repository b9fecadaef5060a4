//! Why an operation was not carried out.

use minicbor::{Decode, Encode};

use crate::{Address, KeyId, SourceError};

/// Why a stream was not kept. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The caller's own stream broke off.
    #[error("the stream broke off")]
    Source(#[source] SourceError),
    #[error("the stream's {0} is not what was said before")]
    Mismatch(Measure),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Something that a stream is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Measure {
    #[n(0)]
    Size,
    #[n(1)]
    Sha256,
    #[n(2)]
    Md5,
}

/// Why content is not served, or was not found whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum ServeError {
    #[error("there is no content {0}")]
    #[n(0)]
    Absent(#[n(0)] Address),
    /// What lies there is not what was stored. Other bytes than those that were stored are never served.
    #[error("content {address} is damaged: {reason}")]
    #[n(1)]
    Damaged {
        #[n(0)]
        address: Address,
        #[n(1)]
        reason: String,
    },
    #[error("the range lies outside of the content's {size} bytes")]
    #[n(2)]
    RangeOutside {
        #[n(0)]
        size: u64,
    },
    #[error("the content is encrypted with key {}, which was not given", .0.0)]
    #[n(3)]
    KeyNeeded(#[n(0)] KeyId),
    #[error(transparent)]
    #[n(4)]
    Trouble(#[n(0)] Trouble),
}

/// Why content was not given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// What keeps a backend from its work, whatever the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Trouble {
    /// There is no room. Room makes it work again; deleting is always possible.
    #[error("the data plane's storage is full: {reason}")]
    #[n(0)]
    Full {
        #[n(0)]
        reason: String,
    },
    /// It may work when it is tried again.
    #[error("the data plane does not answer: {reason}")]
    #[n(1)]
    Unavailable {
        #[n(0)]
        reason: String,
    },
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Size => "size",
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        })
    }
}

impl From<Trouble> for ServeError {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Trouble {
    /// Trouble that a later attempt may not meet.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}
