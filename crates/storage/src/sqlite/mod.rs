//! The drivers `inmemory` and `filesystem`: SQLite, one file per service.
//!
//! SQLite blocks, so each connection lives on a thread of its own: one that writes, and for files a few that read and
//! so never wait behind a write's fsync. A transaction crosses to its thread once.

mod execute;
mod open;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use crate::driver::Service;
use crate::error::{Fault, FaultKind, OpenError, ReadError, WriteError};
use crate::migration::Migration;
use crate::statement::Statement;
use crate::value::Row;
use worker::{Job, Lost, Worker};

/// Threads that read a file. Two let a long page of a listing not hold up a short question; more gain nothing on
/// the handful of callers that a store has.
const READERS: usize = 2;

/// A store in SQLite.
#[derive(Clone)]
pub(crate) struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    writer: Worker,
    /// Empty for a store in memory, which only its one connection can see.
    readers: Vec<Worker>,
    next_reader: AtomicUsize,
}

// === impl Sqlite ===

impl Sqlite {
    pub async fn open_in_memory(service: Service, schema: &'static [Migration]) -> Result<Self, OpenError> {
        blocking(service, "memory", move || {
            let connection = open::memory(service, schema)?;
            Self::start(service, connection, Vec::new(), "memory")
        })
        .await
    }

    pub async fn open_file(
        directory: &Path,
        service: Service,
        schema: &'static [Migration],
    ) -> Result<Self, OpenError> {
        let path = file(directory, service);
        let place = path.display().to_string();
        blocking(service, &place.clone(), move || {
            let writer = open::file(&path, service, schema)?;
            let readers = (0..READERS).map(|_| open::reader(&path, service)).collect::<Result<Vec<_>, OpenError>>()?;
            Self::start(service, writer, readers, &place)
        })
        .await
    }

    fn start(
        service: Service,
        writer: rusqlite::Connection,
        readers: Vec<rusqlite::Connection>,
        place: &str,
    ) -> Result<Self, OpenError> {
        let spawn = |connection| {
            Worker::spawn(service, connection)
                .map_err(|error| Fault::new(FaultKind::Unavailable, error).on_open(service, place))
        };
        let readers = readers.into_iter().map(spawn).collect::<Result<_, _>>()?;
        let inner = Inner { service, writer: spawn(writer)?, readers, next_reader: AtomicUsize::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub async fn write(&self, statements: Vec<Statement>) -> Result<(), WriteError> {
        let service = self.inner.service;
        let (reply, answer) = oneshot::channel();
        match self.inner.writer.ask(Job::Write { statements, reply }, answer).await {
            Ok(result) => result,
            Err(lost @ (Lost::NotTaken | Lost::Busy)) => {
                Err(Fault::new(FaultKind::Unavailable, lost).on_write(service, 0))
            }
            Err(lost) => Err(WriteError::OutcomeUnknown { service, source: lost.into() }),
        }
    }

    pub async fn read(&self, statement: Statement) -> Result<Vec<Row>, ReadError> {
        let (reply, answer) = oneshot::channel();
        match self.inner.reader().ask(Job::Read { statement, reply }, answer).await {
            Ok(result) => result,
            Err(lost) => Err(Fault::new(FaultKind::Unavailable, lost).on_read(self.inner.service)),
        }
    }

    /// Readers first: the last connection to close removes the write-ahead log, and that is the writer's.
    pub async fn close(&self) {
        for worker in self.inner.readers.iter().chain([&self.inner.writer]) {
            let (reply, answer) = oneshot::channel();
            if let Err(lost) = worker.ask(Job::Close { reply }, answer).await {
                tracing::debug!(service = %self.inner.service, reason = %lost, "a connection was closed already");
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    fn reader(&self) -> &Worker {
        match self.readers.len() {
            0 => &self.writer,
            count => &self.readers[self.next_reader.fetch_add(1, Ordering::Relaxed) % count],
        }
    }
}

fn file(directory: &Path, service: Service) -> PathBuf {
    directory.join(format!("{service}.sqlite"))
}

async fn blocking<T: Send + 'static>(
    service: Service,
    place: &str,
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Fault::new(FaultKind::Other, error).on_open(service, place)),
    }
}
