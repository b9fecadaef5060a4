//! The one writer of the log.
//!
//! It takes all that waits, decides each in its turn, appends what follows in one write, makes it durable with one
//! `fdatasync`, and only then publishes and answers. While the disk works, the next commands gather: the more callers
//! there are, the more of them share a synchronisation.

mod batch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_dataplane::{Address, Claim, Delete, Deletion, KeyId, Owner, Trouble};
use tokio::sync::{mpsc, oneshot};

use crate::error::trouble;
use crate::files::{Files, LooseFile};
use crate::index::Index;
use crate::keeper::Job;
use crate::pack::{Log, PackId, Spot};
use batch::Batch;

/// Commands that may wait. Whoever comes then waits for a place, holding its content.
pub(crate) const MAX_WAITING: usize = 256;

/// Commands that are carried out together.
const MAX_BATCH: usize = 256;

/// Bytes that are written together: what the disk takes in a few milliseconds, so that small content does not wait long
/// behind large.
const MAX_BATCH_LEN: u64 = 8 << 20;

/// How many times as far as a checkpoint is due after may the index lag behind, before the writer waits for it.
const MAX_LAG: usize = 4;

/// How long the next pack is not tried again when it could not be begun.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What the writer is asked for.
pub(crate) enum Command {
    /// Answers nothing where nothing was brought and nothing is there.
    Keep(Box<Keep>, Reply<Option<Kept>>),
    Release(Delete, Reply<Deletion>),
    Move(Box<Move>, Reply<()>),
    /// Begins the next pack.
    Rotate(Reply<PackId>),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Trouble>>;

/// Content to keep.
pub(crate) struct Keep {
    pub address: Address,
    pub size: u64,
    pub key: Option<KeyId>,
    pub owner: Owner,
    pub body: Body,
    /// Whether what is kept already was found damaged, and is to be replaced.
    pub replace: bool,
}

/// Content as it is stored.
pub(crate) enum Body {
    /// The content's header and its stored bytes, in parts, to be written into a pack.
    Packed(Packed),
    /// A file that is durable, with its name.
    File(LooseFile),
    /// Nothing yet: only what is there already is claimed.
    Nothing,
}

/// What is written into a pack.
pub(crate) struct Packed {
    pub parts: Vec<Bytes>,
    pub len: u32,
    pub check: u64,
}

/// What became of content to keep.
#[derive(Debug)]
pub(crate) struct Kept {
    pub claim: Claim,
    pub key: Option<KeyId>,
    /// Whether it was there already.
    pub known: bool,
}

/// A record to write again at the end of the log, because its pack is tidied. Where it is not the newest any more,
/// nothing is done.
pub(crate) struct Move {
    pub address: Address,
    pub from: Spot,
    pub what: Moved,
}

pub(crate) enum Moved {
    Content(Option<Packed>),
    Claims,
    Grave,
}

pub(crate) struct Writer {
    pub log: Log,
    pub index: Arc<Index>,
    pub files: Files,
    pub keeper: SyncSender<Job>,
    pub next_claim: u64,
    pub pack_len: u64,
    pub checkpoint_after: usize,
    /// Whether the keeper was asked for a checkpoint and has not looked yet.
    pub checkpoint_asked: Arc<AtomicBool>,
    /// When the next pack could not be begun.
    pub rotation_failed: Option<Instant>,
}

impl Writer {
    /// Works until nobody can ask for anything any more.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            next = self.turn(command, &mut commands);
            if next.is_none() {
                next = commands.blocking_recv();
            }
        }
        self.log.trim();
    }

    /// Carries out a command and those that wait behind it; answers one that has to wait for its own turn.
    fn turn(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let ready = self.make_ready();
        let mut caught_up = None;
        let mut batch = Batch::new(&self.log, self.files.clone(), self.next_claim);
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Rotate(reply) if batch.is_empty() => {
                    let _ = reply.send(self.rotate());
                    return None;
                }
                Command::Rotate(_) => {
                    next = Some(command);
                    break;
                }
                command => {
                    // New content waits for the index; giving up and moving content does not.
                    let hindered = match &ready {
                        Ok(()) if matches!(command, Command::Keep(..)) => {
                            caught_up.get_or_insert_with(|| self.catch_up())
                        }
                        ready => ready,
                    };
                    match hindered {
                        Ok(()) => batch.take(command, &mut self.log, &self.index),
                        Err(trouble) => refuse(command, trouble),
                    }
                }
            }
            if batch.commands() >= MAX_BATCH || batch.len() >= MAX_BATCH_LEN {
                break;
            }
            next = commands.try_recv().ok();
        }
        self.commit(batch);
        next
    }

    fn commit(&mut self, batch: Batch) {
        let doomed = match batch.write(&mut self.log) {
            Ok(finished) => {
                self.next_claim = finished.next_claim;
                finished.publish(&self.index, &self.log)
            }
            Err((unanswered, error)) => {
                tracing::error!(pack = %self.log.id(), %error, "cannot write to the content store");
                unanswered.refuse(&trouble("write to the content store", &error))
            }
        };
        // Removing a large file takes longer than all else here. Where the keeper has too much to do already, the file
        // goes with the message that it does not take.
        for file in doomed {
            let _ = self.keeper.try_send(Job::Discard(file));
        }
        if self.index.behind() >= self.checkpoint_after && !self.checkpoint_asked.swap(true, Ordering::SeqCst) {
            let _ = self.keeper.try_send(Job::CheckpointIfDue);
        }
    }

    /// Sees to it that there is a pack to write to.
    fn make_ready(&mut self) -> Result<(), Trouble> {
        if self.log.is_spoilt() {
            // Nothing may follow on what a failed write has left.
            self.rotate()?;
        } else if self.log.end() >= self.pack_len
            && self.rotation_failed.is_none_or(|failed| failed.elapsed() >= PAUSE_AFTER_FAILURE)
        {
            // A pack may become longer than it should where there is no room for the next one.
            if let Err(trouble) = self.rotate() {
                tracing::warn!(%trouble, "the content store goes on in a full pack");
                self.rotation_failed = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Sees to it that the index does not lag too far behind; what it takes for content to be kept, not to be given up.
    fn catch_up(&self) -> Result<(), Trouble> {
        if self.index.behind() < self.checkpoint_after * MAX_LAG {
            return Ok(());
        }
        // Not the keeper's affair now, which may be waiting for this thread.
        Ok(self.index.checkpoint()?)
    }

    fn rotate(&mut self) -> Result<PackId, Trouble> {
        let next = self.log.rotate(self.next_claim).map_err(|error| trouble("begin a pack", &error));
        next.map(|()| {
            batch::publish_head(&self.index, &self.log, self.next_claim);
            self.log.id()
        })
    }
}

/// What is answered when nobody works any more.
pub(crate) fn closed() -> Trouble {
    Trouble::unavailable("the content store is closed")
}

fn refuse(command: Command, trouble: &Trouble) {
    let trouble = trouble.clone();
    // Whoever does not wait any more needs no answer.
    match command {
        Command::Keep(_, reply) => drop(reply.send(Err(trouble))),
        Command::Release(_, reply) => drop(reply.send(Err(trouble))),
        Command::Move(_, reply) => drop(reply.send(Err(trouble))),
        Command::Rotate(reply) => drop(reply.send(Err(trouble))),
    }
}
