//! Why something was not done.

use std::sync::Arc;

use mainstay_bucket::VersionId;
use mainstay_bucket::conditions::Refused;
use mainstay_bucket::lock::Locked;
use mainstay_dataplane as dataplane;
use mainstay_storage::{ReadError as StorageReadError, WriteError as StorageWriteError};

use crate::keys::KeysError;

/// Why an operation on the index was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The rules do not allow it, or there is nothing to do it to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The index could not be asked or changed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What the rules refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// Another instance has a bucket of that name.
    #[error("the name of the bucket is taken; choose another one")]
    BucketExists,
    /// The instance has a bucket of that name already.
    #[error("the bucket belongs to the instance already")]
    BucketOwned,
    #[error("the instance may have {limit} buckets; delete one, or raise its parameter `buckets`")]
    TooManyBuckets { limit: u32 },
    #[error("the bucket is not empty; delete its objects and all their versions first")]
    BucketNotEmpty,
    #[error("there is no such instance in the object store")]
    NoSuchAccount,
    /// There is no object, or a delete marker hides it, whose id stands here then.
    #[error("there is no such object")]
    NoSuchKey { marker: Option<VersionId> },
    #[error("the object has no such version")]
    NoSuchVersion,
    /// The version that was named is a delete marker, which has no content.
    #[error("the version is a delete marker, which has no content")]
    IsMarker { id: VersionId },
    #[error("there is no such upload; it was completed or aborted, or has expired")]
    NoSuchUpload,
    #[error("part {number} was not uploaded, or its ETag is another one")]
    InvalidPart { number: u32 },
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("a part has a number between 1 and 10000")]
    InvalidPartNumber,
    #[error("part {number} has {size} bytes; every part but the last has at least {minimum}")]
    PartTooSmall { number: u32, size: u64, minimum: u64 },
    #[error("an object has at most {limit} bytes")]
    TooLarge { limit: u64 },
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// The request has a condition on an object that does not exist.
    #[error("the request's condition asks for an object that does not exist")]
    ConditionOnNothing,
    /// A retention or a legal hold protects the version.
    #[error(transparent)]
    Locked(#[from] Locked),
    #[error("the bucket was made without object lock")]
    NoLock,
    /// Settings that do not go together with what the bucket is.
    #[error("{reason}")]
    InvalidSettings { reason: String },
    #[error("the quota of {limit} bytes is used up; delete objects, or raise it")]
    OutOfBytes { limit: u64 },
    #[error("the quota of {limit} objects is used up; delete objects, or raise it")]
    OutOfObjects { limit: u64 },
    /// The content that a copy refers to was deleted meanwhile.
    #[error("the source of the copy was deleted meanwhile")]
    SourceGone,
}

/// Why the index did not answer. Everybody of a batch gets the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    #[error("a change was not stored")]
    Write(#[source] Arc<StorageWriteError>),
    /// There is no room for the change. Room makes the index take changes again.
    #[error("the index of objects has no room for a change")]
    Full(#[source] Arc<StorageWriteError>),
    #[error("the index of objects could not be read")]
    Read(#[source] Arc<StorageReadError>),
    /// A record that no version of Mainstay wrote, or a newer one.
    #[error("a record of the index cannot be read; it is damaged, or a newer Mainstay wrote it")]
    Record(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// Notifications wait in the index until they can be told.
    #[error("notifications could not be told")]
    Feed(#[source] Arc<crate::feed::FeedError>),
    #[error("the index of objects is closed")]
    Closed,
}

/// Why content was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    DataPlane(#[from] dataplane::IngestError),
}

/// Why an object's bytes are not served. A stream that has begun ends with the data plane's own error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    DataPlane(#[from] dataplane::ServeError),
}

/// Why the object store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] mainstay_storage::OpenError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

// === impl IndexError ===

impl From<StorageWriteError> for IndexError {
    fn from(error: StorageWriteError) -> Self {
        match error {
            StorageWriteError::Full { .. } => Self::Full(Arc::new(error)),
            error => Self::Write(Arc::new(error)),
        }
    }
}

impl From<StorageReadError> for IndexError {
    fn from(error: StorageReadError) -> Self {
        Self::Read(Arc::new(error))
    }
}

impl From<minicbor::decode::Error> for IndexError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Record(Arc::new(error))
    }
}

impl From<mainstay_bucket::UnknownFormat> for IndexError {
    fn from(error: mainstay_bucket::UnknownFormat) -> Self {
        Self::Record(Arc::new(error))
    }
}

// === impl Refusal ===

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed => Self::PreconditionFailed,
            Refused::Absent => Self::ConditionOnNothing,
        }
    }
}

impl From<StorageReadError> for Error {
    fn from(error: StorageReadError) -> Self {
        Self::Index(error.into())
    }
}
