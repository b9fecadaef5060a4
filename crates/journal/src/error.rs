//! Errors, told apart by what a caller can do.

use std::sync::Arc;

use mainstay_domain::view::ApplyError;
use mainstay_storage::WriteError;
use mainstay_types::Sequence;

use crate::chain::Misfit;

/// What lies beneath an error: a write that failed, or the reading that had to come before it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a submission was not recorded. The cause is shared by all submissions that were to be stored together.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError<R> {
    /// The decision was that it must not be.
    #[error("the command was refused")]
    Rejected(#[source] R),
    /// Nothing was recorded: there is no room.
    #[error("the journal has no room for it; nothing was recorded")]
    Full(#[source] Arc<WriteError>),
    /// Nothing was recorded: the storage does not answer. It may work when it is tried again.
    #[error("the journal can not be written now; nothing was recorded")]
    Unavailable(#[source] Cause),
    /// It was recorded or not: the storage did not confirm it. Look before it is tried again, or use an idempotency key.
    #[error("the journal's storage did not confirm it; it is recorded whole or not at all")]
    OutcomeUnknown(#[source] Arc<WriteError>),
    /// Nothing was recorded: the storage refused it for a reason that another try will meet again.
    #[error("the journal can not be written; nothing was recorded")]
    Storage(#[source] Cause),
    /// Nothing was recorded: other writers of the same journal were faster, time and again.
    #[error("other writers were faster {tries} times; nothing was recorded, try again")]
    Conflict { tries: usize },
    /// Nothing was recorded: too many others wait.
    #[error("the journal has more to write than it can; nothing was recorded, try again")]
    Busy,
    /// Nothing was recorded: its events do not fit onto the view. A mistake in the decision.
    #[error("the decided events do not fit onto the view; nothing was recorded")]
    Inconsistent(#[source] ApplyError),
    /// Nothing was recorded: the decision has a mistake, whose place is in the log.
    #[error("the decision panicked; nothing was recorded")]
    Panicked,
    /// Nothing was recorded: what another writer stored can not be read.
    #[error("the journal was continued by another writer in a way that does not fit; nothing was recorded")]
    Broken(#[source] Arc<ReadError>),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why events can not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the journal can not be read")]
    Storage(#[from] mainstay_storage::ReadError),
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// Why a journal can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal can not be read")]
    Read(#[from] mainstay_storage::ReadError),
    #[error("the end of the journal can not be repaired")]
    Repair(#[from] WriteError),
    /// An acknowledged event is missing, damaged or not the one that was recorded.
    #[error("the journal is broken; restore it from a backup, or look at it with 'mainstay journal verify'")]
    Misfit(#[from] Misfit),
    /// Another writer changed the end of the journal each time it was looked at.
    #[error("the journal changes while it is opened; see that no other control plane uses it")]
    Busy,
}

/// Why events could not be put back into a store. What was taken before is there, and the import can go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store is left as it is.
    #[error(
        "there is another journal in the store: its event {sequence} is not the one that is to be put back; use an empty store"
    )]
    OtherJournal { sequence: Sequence },
    #[error("the events are not whole")]
    Misfit(#[from] Misfit),
    #[error("the journal can not be read")]
    Read(#[source] mainstay_storage::ReadError),
    #[error("the journal can not be written")]
    Write(#[source] WriteError),
}

impl From<ReadError> for ImportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Read(error),
            ReadError::Misfit(misfit) => Self::Misfit(misfit),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Read(error),
            ReadError::Misfit(misfit) => Self::Misfit(misfit),
        }
    }
}
