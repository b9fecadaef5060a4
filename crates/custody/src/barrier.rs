//! The barrier: everything above it is plain, everything below it is sealed.

use std::error::Error;
use std::sync::Arc;

use mainstay_storage::{ReadError, Service, Statement, WriteError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::head::IntegrityError;
use crate::inner::Inner;
use crate::keyring::KeyringError;
use crate::record::Record;
use crate::writer::{self, Commit, Request};

/// The largest value of an entry, in bytes: what Vault's integrated storage takes.
pub const LARGEST_VALUE: usize = 1 << 20;

/// The longest path of an entry, in bytes: what an index of PostgreSQL takes, with room for its overhead.
pub const LONGEST_PATH: usize = 2000;

/// Bytes of values that may wait to be stored, so that many large ones at once wait where they came from: one of these
/// is larger than any batch of ordinary entries.
const WAITING_BYTES: usize = 64 << 20;

/// Sealed entries by path. A clone is another handle to the same.
///
/// One process at a time works on a store, which the control plane's claim sees to. A second one that writes is noticed
/// at the next write, which goes on from what that one wrote; until then this one may read what it knew before.
#[derive(Clone)]
pub struct Barrier {
    pub(crate) inner: Arc<Inner>,
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

/// An entry as it was read.
#[derive(Clone)]
pub struct Entry {
    /// Rises with every change of the store, and never repeats: not even where an entry is removed and made again.
    pub revision: u64,
    pub value: Arc<Zeroizing<Vec<u8>>>,
}

/// What an entry must be like for a change to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    /// The entry is still the one that was read.
    Revision(u64),
}

/// One change of one entry.
pub struct Change {
    pub path: String,
    pub expect: Expect,
    /// The new value; none removes the entry.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// Why the barrier did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    #[error("custody is sealed; unseal it with `mainstay custody unseal`")]
    Sealed,
    #[error("entry {path} is damaged, or was not written to this place; restore custody from a snapshot")]
    Damaged { path: String },
    #[error("entry {path} has {length} bytes and may have {LARGEST_VALUE}")]
    TooLarge { path: String, length: usize },
    #[error("entry {path:?} cannot be kept: use a path of 1 to {LONGEST_PATH} bytes without NUL")]
    InvalidPath { path: String },
    #[error("the keys for entry {path} cannot be had")]
    Keyring {
        path: String,
        #[source]
        source: KeyringError,
    },
    #[error("the secret store was changed behind custody's back")]
    Integrity(#[source] IntegrityError),
    #[error("custody's storage cannot be read")]
    Read(#[source] ReadError),
    #[error("custody's storage cannot be written")]
    Write(#[source] WriteError),
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Why changes were not made; none of them was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Some entry was not as expected: read again and decide again.
    #[error("entry {path} was changed by another meanwhile")]
    Conflict { path: String },
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

// === impl Barrier ===

impl Barrier {
    /// The barrier of a store, and the task that writes to it, which ends with the last handle.
    pub(crate) fn start(inner: Arc<Inner>) -> Self {
        let (requests, queue) = mpsc::channel(writer::QUEUE);
        tokio::spawn(writer::run(inner.clone(), queue));
        Self { inner, requests, room: Arc::new(Semaphore::new(WAITING_BYTES)) }
    }

    /// The entry at a path.
    pub async fn get(&self, path: &str) -> Result<Option<Entry>, BarrierError> {
        // A task that reads one hot entry after the other would never wait for anything, and let nobody else run.
        tokio::task::coop::consume_budget().await;
        if self.inner.is_sealed() {
            return Err(BarrierError::Sealed);
        }
        let known = match self.inner.cache.get(path) {
            Some(known) => known,
            None => self.ask(path).await?,
        };
        let Some(record) = known else { return Ok(None) };
        let value = self.inner.open(path, &record).await?;
        Ok(Some(Entry { revision: record.imprint.revision, value: Arc::new(value) }))
    }

    /// Makes changes, all of them or none, durable when this returns. Where one path is changed twice, each time the
    /// expectation is of what was there before this call.
    ///
    /// Changes that many callers make at once are stored together. A call that is dropped before it returns may still be
    /// carried out.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut bytes = 0;
        for change in &changes {
            check_path(&change.path)?;
            let length = change.value.as_ref().map_or(0, |value| value.len());
            if length > LARGEST_VALUE {
                return Err(BarrierError::TooLarge { path: change.path.clone(), length }.into());
            }
            bytes += length;
        }
        if changes.is_empty() {
            return Ok(());
        }
        // A commit larger than all the room waits until it is alone.
        let permits = bytes.min(WAITING_BYTES) as u32;
        let room = self.room.clone().acquire_many_owned(permits).await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let commit = Commit { changes, reply, _room: room };
        self.requests.send(Request::Commit(commit)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Lets the writer finish what waits, and ends it.
    pub(crate) async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(Request::Close(reply)).await.is_ok() {
            // The writer answers by ending.
            let _ = done.await;
        }
    }

    /// Asks the store, once for everybody who wants this entry now.
    async fn ask(&self, path: &str) -> Result<Option<Arc<Record>>, BarrierError> {
        check_path(path)?;
        let asking = match self.inner.cache.get_or_ask(&path.into()).await {
            Ok(known) => return Ok(known),
            Err(asking) => asking,
        };
        let select = "SELECT revision, path, key_version, mark, ciphertext FROM entries WHERE path = $1";
        let rows = self.inner.store.read(Statement::new(select, [path.into()])).await.map_err(BarrierError::Read)?;
        let record = rows.into_iter().next().map(Record::from_row).transpose().map_err(BarrierError::Read)?;
        let known = record.map(|(_, record)| Arc::new(record));
        // Refused where the writer changed the entry meanwhile: what was read is then the state before that, which is as
        // good an answer to a question that was asked before it.
        let _ = asking.insert(known.clone());
        Ok(known)
    }
}

/// Refuses what some database could not keep.
pub(crate) fn check_path(path: &str) -> Result<(), BarrierError> {
    if path.is_empty() || path.len() > LONGEST_PATH || path.contains('\0') {
        return Err(BarrierError::InvalidPath { path: path.chars().take(80).collect() });
    }
    Ok(())
}

fn closed() -> BarrierError {
    let source = "custody is closed".into();
    BarrierError::Write(WriteError::Unavailable { service: Service::Custody, source })
}

/// The cause of an error that several callers are told.
#[derive(Debug, thiserror::Error)]
#[error("the change was stored together with others")]
struct Together(#[source] Arc<BarrierError>);

impl BarrierError {
    /// The same for one more caller: of the same kind, with the first one's as its cause.
    pub(crate) fn shared(self: &Arc<Self>) -> Self {
        let source = || -> Box<dyn Error + Send + Sync> { Box::new(Together(self.clone())) };
        let service = Service::Custody;
        match &**self {
            Self::Sealed => Self::Sealed,
            Self::Random(error) => Self::Random(*error),
            Self::Read(ReadError::Unavailable { .. }) => {
                Self::Read(ReadError::Unavailable { service, source: source() })
            }
            Self::Read(ReadError::Corrupt { .. }) => Self::Read(ReadError::Corrupt { service, source: source() }),
            Self::Integrity(_) | Self::Read(_) => Self::Read(ReadError::Other { source: source() }),
            Self::Write(error) => Self::Write(match error {
                WriteError::Full { .. } => WriteError::Full { service, source: source() },
                WriteError::Unavailable { .. } => WriteError::Unavailable { service, source: source() },
                WriteError::OutcomeUnknown { .. } => WriteError::OutcomeUnknown { service, source: source() },
                WriteError::Corrupt { .. } => WriteError::Corrupt { service, source: source() },
                _ => WriteError::Other { statement: 0, service, source: source() },
            }),
            Self::Damaged { .. } | Self::TooLarge { .. } | Self::InvalidPath { .. } | Self::Keyring { .. } => {
                Self::Write(WriteError::Other { statement: 0, service, source: source() })
            }
        }
    }
}
