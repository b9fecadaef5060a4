//! The store: what it consists of, how it begins to work, and how it ends.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use mainstay_content::{BufferPool, GROUP_LEN, Header};
use mainstay_dataplane::{Delete, DeleteError, Deletion, Trouble};
use mainstay_types::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{mpsc, oneshot};

use crate::damaged::Damaged;
use crate::disk::Disk;
use crate::files::Files;
use crate::index::Index;
use crate::keeper::{Job, Keeper, MAX_JOBS};
use crate::layout::Layout;
use crate::pack::Packs;
use crate::recovery::{Recovered, recover};
use crate::writer::{Command, MAX_WAITING, Writer, closed};
use crate::{FsConfig, OpenError};

/// Bytes of a buffer: a piece that is read or written at a time.
const BUFFER_LEN: usize = 4 * GROUP_LEN;

/// Buffers that are kept while nobody uses them: 12 MiB.
const BUFFERS_KEPT: usize = 48;

/// Headers of files that are remembered, and the bytes that they may take together: those of 16 GiB of content.
const HEADERS_KEPT: usize = 1024;
const HEADERS_LEN: u64 = 8 << 20;

/// A store that works.
pub(crate) struct Store {
    pub(crate) config: FsConfig,
    pub(crate) disk: Disk,
    pub(crate) index: Arc<Index>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) files: Files,
    pub(crate) pool: BufferPool,
    pub(crate) damaged: Arc<Damaged>,
    pub(crate) headers: Cache<u64, Arc<Header>, ByLen>,
    /// None when the store is closed.
    doors: RwLock<Option<Doors>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How its threads are reached.
#[derive(Clone)]
struct Doors {
    writer: mpsc::Sender<Command>,
    keeper: SyncSender<Job>,
}

/// Weighs headers by what they take.
#[derive(Debug, Clone)]
pub(crate) struct ByLen;

impl Weighter<u64, Arc<Header>> for ByLen {
    fn weight(&self, _: &u64, header: &Arc<Header>) -> u64 {
        256 + header.tree().encoded().len() as u64
    }
}

impl Store {
    pub(crate) fn open(directory: &Path, config: FsConfig) -> Result<Self, OpenError> {
        let (layout, lock) = Layout::open(directory)?;
        let layout = Arc::new(layout);
        let was_left = lock.was_left();
        let packs = Arc::new(Packs::new(layout.packs()));
        let Recovered { base, memory, log } = recover(&layout, &packs)?;
        // Numbers follow the clock, so that those of this process are higher than those of any before.
        let first = Timestamp::now().as_micros().max(1) as u64;
        let files = Files::new(Arc::clone(&layout), first);
        files.clear_incoming().map_err(OpenError::at(layout.incoming()))?;
        let damaged = Damaged::open(layout.damaged()).map_err(OpenError::at(layout.damaged()))?;
        if damaged.len() > 0 {
            tracing::warn!(
                directory = %directory.display(), contents = damaged.len(),
                "content is damaged that was found before and has not come again since"
            );
        }
        let disk = Disk::of(&layout, config.reserved);
        let next_claim = memory.next_claim();
        let index = Arc::new(Index::new(base, memory, config.cached_places));

        let (writer, commands) = mpsc::channel(MAX_WAITING);
        let (keeper, jobs) = sync_channel(MAX_JOBS);
        let (index_of, files_of, packs_of) = (Arc::clone(&index), files.clone(), Arc::clone(&packs));
        let checkpoint_asked = Arc::new(AtomicBool::new(false));
        let at_work = Keeper {
            index: index_of,
            packs: packs_of,
            files: files_of,
            disk: disk.clone(),
            commands: writer.downgrade(),
            checkpoint_after: config.checkpoint_after,
            checkpoint_asked: Arc::clone(&checkpoint_asked),
            tidy: config.tidy,
            failed: None,
            stuck: Vec::new(),
            lock,
        };
        let housekeeping = spawn("fs-keeper", move || at_work.run(&jobs)).map_err(OpenError::at(directory))?;
        let at_work = Writer {
            log,
            index: Arc::clone(&index),
            files: files.clone(),
            keeper: keeper.clone(),
            next_claim,
            pack_len: config.pack_len,
            checkpoint_after: config.checkpoint_after,
            checkpoint_asked,
            rotation_failed: None,
        };
        let writing = spawn("fs-writer", move || at_work.run(commands)).map_err(OpenError::at(directory))?;
        if !was_left {
            tracing::info!(directory = %directory.display(), "the content store was not closed when its process ended");
            let _ = keeper.try_send(Job::Sweep);
        }
        Ok(Self {
            config,
            disk,
            index,
            packs,
            files,
            pool: BufferPool::new(BUFFER_LEN, BUFFERS_KEPT),
            damaged: Arc::new(damaged),
            headers: Cache::with_weighter(HEADERS_KEPT, HEADERS_LEN, ByLen),
            doors: RwLock::new(Some(Doors { writer, keeper })),
            threads: Mutex::new(vec![writing, housekeeping]),
        })
    }

    /// Ends the threads when they have done what there is to do.
    pub(crate) fn close(&self) {
        // The writer ends when nobody can ask it for anything, and the keeper when the writer has ended too.
        drop(self.doors.write().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the content store has panicked");
            }
        }
    }

    pub(crate) fn is_open(&self) -> Result<(), Trouble> {
        match *self.doors.read().unwrap_or_else(PoisonError::into_inner) {
            Some(_) => Ok(()),
            None => Err(closed()),
        }
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Trouble> {
        let doors = self.doors()?;
        doors.writer.send(command).await.map_err(|_| closed())
    }

    pub(crate) async fn delete(&self, request: Delete) -> Result<Deletion, DeleteError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Release(request, reply)).await?;
        Ok(answer.await.unwrap_or_else(|_| Err(closed()))?)
    }

    pub(crate) async fn reclaim(&self) -> Result<u64, Trouble> {
        let keeper = self.doors()?.keeper;
        let (reply, answer) = oneshot::channel();
        blocking(move || keeper.send(Job::Reclaim(reply))).await?.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn doors(&self) -> Result<Doors, Trouble> {
        self.doors.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }
}

/// Does work that waits for the disk, or takes long, on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Trouble::unavailable("the process is ending")),
        },
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}
