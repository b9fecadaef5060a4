//! The thread that keeps house: checkpoints, removal of files, tidying of packs.

mod tidy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mainstay_dataplane::Trouble;
use tokio::sync::mpsc;

use crate::disk::Disk;
use crate::error::trouble;
use crate::files::{Files, LooseFile};
use crate::index::Index;
use crate::layout::Lock;
use crate::pack::{PackId, Packs};
use crate::writer::{Command, Reply};

/// How long the index lags behind a quiet log at most: a start after that has nothing to read.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// How long a checkpoint that failed is left alone, where nobody asks for it.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Jobs that may wait. What does not fit is done by whoever asks.
pub(crate) const MAX_JOBS: usize = 1024;

/// What there is to do.
pub(crate) enum Job {
    CheckpointIfDue,
    /// Drops a file that nobody needs, which takes its time.
    Discard(LooseFile),
    Reclaim(Reply<u64>),
    /// Looks for files that a crash has left behind.
    Sweep,
}

pub(crate) struct Keeper {
    pub index: Arc<Index>,
    pub packs: Arc<Packs>,
    pub files: Files,
    pub disk: Disk,
    /// How it asks the writer; weak, so that the writer ends when nobody else can ask.
    pub commands: mpsc::WeakSender<Command>,
    pub checkpoint_after: usize,
    pub checkpoint_asked: Arc<AtomicBool>,
    pub tidy: bool,
    /// When a checkpoint failed last.
    pub failed: Option<Instant>,
    /// Packs that could not be tidied: something in them cannot be read. They are tried again when it is asked for.
    pub stuck: Vec<PackId>,
    pub lock: Lock,
}

impl Keeper {
    /// Works until nobody can ask for anything any more.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(CHECKPOINT_EVERY) {
                Ok(Job::CheckpointIfDue) => {
                    self.checkpoint_asked.store(false, Ordering::SeqCst);
                    if self.index.behind() >= self.checkpoint_after {
                        self.checkpoint_unasked();
                    }
                }
                Ok(Job::Discard(file)) => drop(file),
                Ok(Job::Reclaim(reply)) => drop(reply.send(self.reclaim())),
                Ok(Job::Sweep) => self.sweep(),
                Err(RecvTimeoutError::Timeout) => {
                    // In case that there was no room for the request.
                    self.checkpoint_asked.store(false, Ordering::SeqCst);
                    self.checkpoint_unasked();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end();
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let (began, behind) = (Instant::now(), self.index.behind());
        match self.index.checkpoint() {
            Ok(()) => {
                tracing::debug!(changes = behind, seconds = began.elapsed().as_secs_f64(), "wrote the index");
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                // It is said once; until it works again the log has everything.
                if self.failed.replace(Instant::now()).is_none() {
                    tracing::error!(index = %self.index.path().display(), %error, "cannot write the index");
                }
                Err(error.into())
            }
        }
    }

    fn checkpoint_unasked(&mut self) {
        if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE_AFTER_FAILURE) {
            return;
        }
        if self.checkpoint().is_ok() && self.tidy {
            self.tidy_what_is_mostly_dead();
        }
    }

    fn sweep(&self) {
        match self.files.sweep(&self.index) {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "removed files that a crash had left behind"),
            Err(error) => tracing::warn!(%error, "cannot look for files that a crash has left behind"),
        }
    }

    fn end(mut self) {
        let written = self.checkpoint();
        // Whoever opens the store next finds the index free: the lock goes after it.
        self.index.close();
        if written.is_ok()
            && let Err(error) = self.lock.leave()
        {
            tracing::warn!(%error, "cannot note that the content store was closed");
        }
    }

    fn reclaim(&mut self) -> Result<u64, Trouble> {
        self.stuck.clear();
        let tidied = self.reclaim_packs()?;
        let swept = self.files.sweep(&self.index).map_err(|error| trouble("look for files of nobody's", &error))?;
        Ok(tidied + swept)
    }
}
