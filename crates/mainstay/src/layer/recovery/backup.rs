//! Backups of the layer's own state: the journal, secret custody, and the files without which these cannot be used.
//!
//! They are taken soon after something changed, and leave no event: that would make the next one due.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use mainstay_control::{Control, Depot, DepotError, Document, LayerDocument, LayerPart};
use mainstay_custody::{Custody, SnapshotError};
use mainstay_dataplane::{DataPlane, Hints, IngestError, Owner, Serve, Source};
use mainstay_types::{Sequence, Timestamp, chain};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::depot::RepositoryDepot;
use super::events;
use super::keep::{dropped, name_of};

/// The kind of the documents.
pub(super) const LAYER: &str = "layer";
/// What the parts with events are called: this, and the first and last sequence number.
pub(super) const JOURNAL: &str = "journal/";
pub(super) const CUSTODY: &str = "custody.snapshot";

/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_secs(2);
/// How long after a change a backup is taken, so that changes which belong together are in one.
const SETTLE: Duration = Duration::from_secs(4);
/// How long after one backup the next is taken at the earliest, in a repository that was open all the time.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a layer that stops waits for the backup of its last changes.
const LAST_BACKUP: Duration = Duration::from_secs(5);
/// How many events make a part that is written once, and not again with those that follow.
const EVENTS_IN_PART: u64 = 20_000;
/// How much of custody's snapshot is held at a time.
const BUFFER: usize = 256 << 10;
/// What no file that is backed up is larger than: keys, tokens and a configuration are a few KiB.
const LARGEST_FILE: u64 = 4 << 20;

/// What is known of these backups.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerBackupState {
    pub taken_at: Option<Timestamp>,
    pub sequence: Sequence,
    pub trouble: Option<String>,
}

/// Takes them for as long as it is polled.
pub(super) struct LayerBackups {
    pub control: Control,
    pub custody: Custody,
    pub depot: Arc<RepositoryDepot>,
    /// Files beside the stores, by the names that their parts get. One that is not there is left out.
    pub files: Vec<(&'static str, PathBuf)>,
    pub state: Arc<Mutex<LayerBackupState>>,
    /// Told after each.
    pub taken: watch::Sender<u64>,
}

/// Why one did not come about.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error("{what} could not be kept")]
    Ingest {
        what: String,
        #[source]
        source: IngestError,
    },
    #[error("secret custody could not be copied")]
    Custody(#[source] SnapshotError),
    #[error("{} could not be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} was changed meanwhile", .0.display())]
    Changed(PathBuf),
}

/// How far the state had come: the journal's sequence, and custody's position.
type Position = (Sequence, u64);

// === impl LayerBackups ===

impl LayerBackups {
    /// Takes backups until `stop` turns true, and a last one then.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        // Parts of the journal that are complete, in their order.
        let mut complete = Vec::new();
        // And how often the repository had been opened then: what was written may not be in another one, or in an earlier state of it.
        let mut saved: Option<(Position, u64)> = None;
        let mut changed_at: Option<Instant> = None;
        // When the last one was tried, and how often the repository had been opened after that.
        let mut tried: Option<(Instant, u64)> = None;
        loop {
            let stopped = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_ok();
            let position = self.position();
            if saved == Some((position, self.depot.openings())) {
                changed_at = None;
            } else {
                changed_at.get_or_insert_with(Instant::now);
            }
            // One that has been opened since, or taken over, has nothing of what is now, however short a time ago another one had.
            let may_be = tried.is_none_or(|(at, openings)| at.elapsed() >= PAUSE || openings != self.depot.openings());
            let is_due = may_be && changed_at.is_some_and(|at| at.elapsed() >= SETTLE);
            if stopped {
                if changed_at.is_some() && self.depot.trouble().is_none() {
                    // What is not in it is in the next one, if there is a next one.
                    if tokio::time::timeout(LAST_BACKUP, self.back_up(&mut complete)).await.is_err() {
                        tracing::warn!(
                            "the newest changes of the layer's own state are in no backup: it took too long at the stop"
                        );
                    }
                }
                return;
            }
            if is_due {
                let tried_at = Instant::now();
                let taken = self.back_up(&mut complete).await;
                tried = Some((tried_at, self.depot.openings()));
                if taken {
                    (saved, changed_at) = (Some((position, self.depot.openings())), None);
                }
            }
        }
    }

    fn position(&self) -> Position {
        (self.control.view().sequence(), self.custody.position())
    }

    /// Takes one, and notes what came of it; says whether it was taken.
    async fn back_up(&self, complete: &mut Vec<LayerPart>) -> bool {
        let outcome = self.try_to_back_up(complete).await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok((taken_at, sequence)) => {
                if state.trouble.is_some() {
                    tracing::info!("the layer's own state is backed up again");
                }
                *state = LayerBackupState { taken_at: Some(taken_at), sequence, trouble: None };
                drop(state);
                self.taken.send_modify(|count| *count += 1);
                true
            }
            Err(error) => {
                let reason = chain(&error);
                if state.trouble.as_ref() != Some(&reason) {
                    tracing::error!(reason, "the layer's own state is not backed up at present");
                }
                state.trouble = Some(reason);
                false
            }
        }
    }

    async fn try_to_back_up(&self, complete: &mut Vec<LayerPart>) -> Result<(Timestamp, Sequence), BackupError> {
        let plane = self.depot.plane().await?;
        let before = self.read_files().await?;
        // The journal first: what it tells of custody has to be in custody's snapshot, and custody may be ahead of it.
        let taken_at = Timestamp::now();
        let sequence = self.control.view().sequence();
        let mut known = still_there(&*plane, complete).await;
        let mut parts = self.journal(&*plane, sequence, &mut known).await?;
        parts.extend(self.custody(&*plane).await?);
        // A key that was replaced meanwhile would not open the snapshot.
        let files = self.read_files().await?;
        for (at, (name, path, bytes)) in files.into_iter().enumerate() {
            if before.get(at).is_none_or(|(_, _, earlier)| *earlier != bytes) {
                return Err(BackupError::Changed(path));
            }
            let whole = stream::once(async { Ok(bytes) }).boxed();
            parts.push(ingest(&*plane, name.to_owned(), whole).await?);
        }
        let document = LayerDocument { taken_at, version: env!("CARGO_PKG_VERSION").to_owned(), sequence, parts };
        self.depot.put(LAYER, &name_of(taken_at), document.to_bytes()).await?;
        // Not before: what no document refers to is given up one day, and has to be kept again then.
        *complete = known;
        for old in dropped(&self.depot.names(LAYER).await?) {
            self.depot.remove(LAYER, &old).await?;
        }
        tracing::debug!(sequence, "the layer's own state was backed up");
        Ok((taken_at, sequence))
    }

    /// The parts of the journal up to an event. What is complete is not read again.
    async fn journal(
        &self,
        plane: &dyn DataPlane,
        sequence: Sequence,
        complete: &mut Vec<LayerPart>,
    ) -> Result<Vec<LayerPart>, BackupError> {
        let mut tail = None;
        loop {
            let after = complete.len() as u64 * EVENTS_IN_PART;
            let to = sequence.min(after + EVENTS_IN_PART);
            if after >= sequence {
                break;
            }
            let name = format!("{JOURNAL}{:020}-{to:020}", after + 1);
            let part = ingest(plane, name, events::stream(self.control.journal().clone(), after, to)).await?;
            if to < after + EVENTS_IN_PART {
                tail = Some(part);
                break;
            }
            complete.push(part);
        }
        Ok(complete.iter().cloned().chain(tail).collect())
    }

    /// Custody's snapshot; none where custody was never initialised.
    async fn custody(&self, plane: &dyn DataPlane) -> Result<Option<LayerPart>, BackupError> {
        let (mut writer, reader) = tokio::io::duplex(BUFFER);
        let snapshot = async move {
            let taken = self.custody.snapshot(&mut writer).await;
            // Closed where it is whole only: what reads it would else take the end of a broken one for its end.
            taken.map(drop)
        };
        let (done, broken) = tokio::sync::oneshot::channel::<()>();
        let bytes = ReaderStream::with_capacity(reader, BUFFER).map_err(Into::into);
        let end = stream::once(async move {
            match broken.await {
                Ok(()) => Ok(Bytes::new()),
                Err(_) => Err("the snapshot was broken off".into()),
            }
        });
        let snapshot = async {
            let taken = snapshot.await;
            if taken.is_ok() {
                // Nobody listens where the ingest has failed already, which is told by itself.
                let _ = done.send(());
            } else {
                drop(done);
            }
            taken
        };
        let kept = ingest(plane, CUSTODY.to_owned(), bytes.chain(end).boxed());
        let (taken, kept) = tokio::join!(snapshot, kept);
        match (taken, kept) {
            (Err(SnapshotError::NotInitialized), _) => Ok(None),
            (Err(SnapshotError::Write(_)), Err(error)) => Err(error),
            (Err(error), _) => Err(BackupError::Custody(error)),
            (Ok(()), kept) => kept.map(Some),
        }
    }

    async fn read_files(&self) -> Result<Vec<(&'static str, PathBuf, Bytes)>, BackupError> {
        let mut files = Vec::new();
        for (name, path) in &self.files {
            let failed = |source| BackupError::File { path: path.clone(), source };
            match tokio::fs::metadata(path).await {
                Ok(found) if found.is_file() && found.len() <= LARGEST_FILE => {}
                Ok(_) => return Err(failed(std::io::ErrorKind::InvalidData.into())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            }
            let bytes = tokio::fs::read(path).await.map_err(failed)?;
            files.push((*name, path.clone(), bytes.into()));
        }
        Ok(files)
    }
}

/// The parts, as far as the repository has them: it may have been put back from a copy, or another one be in its place.
async fn still_there(plane: &dyn DataPlane, parts: &[LayerPart]) -> Vec<LayerPart> {
    let mut there = Vec::with_capacity(parts.len());
    for part in parts {
        let nothing = Serve { address: part.address, range: Some(0..0), key: None };
        // What it does not have, for whatever reason, is read again and kept again.
        if plane.serve_object(nothing).await.is_err() {
            break;
        }
        there.push(part.clone());
    }
    there
}

async fn ingest(plane: &dyn DataPlane, name: String, source: Source) -> Result<LayerPart, BackupError> {
    let kept = plane.ingest_stream(source, Hints::plain(Owner::Backups)).await;
    let kept = kept.map_err(|source| BackupError::Ingest { what: name.clone(), source })?;
    Ok(LayerPart { name, address: kept.address, size: kept.size })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use mainstay_repository::{Config, Credentials, RecoveryKey, Repository};

    use super::{ingest, still_there};

    #[tokio::test]
    async fn what_another_repository_does_not_have_is_kept_again() {
        let folder = tempfile::tempdir().unwrap();
        let key = RecoveryKey::draw().unwrap();
        let repository = |name: &str| {
            let location = folder.path().join(name).to_str().unwrap().parse().unwrap();
            Repository::create(Config::new(location, Credentials::None), &key)
        };
        let (old, new) = (repository("old").await.unwrap(), repository("new").await.unwrap());
        let source = |text: &'static str| stream::once(async move { Ok(Bytes::from(text)) }).boxed();
        let mut parts = Vec::new();
        for text in ["first", "second", "third"] {
            parts.push(ingest(&old, text.to_owned(), source(text)).await.unwrap());
        }
        assert_eq!(still_there(&old, &parts).await, parts);
        ingest(&new, "first".to_owned(), source("first")).await.unwrap();
        ingest(&new, "third".to_owned(), source("third")).await.unwrap();
        assert_eq!(still_there(&new, &parts).await, parts[..1]);
    }
}
