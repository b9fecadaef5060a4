//! A thread that owns a connection and works off a bounded queue.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::execute;
use crate::driver::Service;
use crate::error::{ReadError, WriteError};
use crate::statement::Statement;
use crate::value::Row;

/// Jobs that may wait for one connection. Callers batch, so that a longer queue would only hide a stuck disk.
const QUEUE: usize = 64;

/// How long a job may wait for room in the queue, and then for its answer. A disk that takes longer is stuck, and
/// the caller is better told so.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a connection is asked to do.
pub(crate) enum Job {
    Write { statements: Vec<Statement>, reply: oneshot::Sender<Result<(), WriteError>> },
    Read { statement: Statement, reply: oneshot::Sender<Result<Vec<Row>, ReadError>> },
    Close { reply: oneshot::Sender<()> },
}

/// Why a job has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the store is closed")]
    NotTaken,
    #[error("the store's queue has been full for {} seconds", DEADLINE.as_secs())]
    Busy,
    #[error("the store has not answered for {} seconds", DEADLINE.as_secs())]
    Late,
    #[error("the store's thread ended before it answered")]
    Ended,
}

/// The handle to a connection's thread. The thread ends when the last handle is dropped.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    pub fn spawn(service: Service, connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name(format!("sqlite-{service}"))
            .spawn(move || work(service, connection, queue))?;
        Ok(Self { jobs })
    }

    /// Hands a job over and waits for its answer.
    pub async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, Lost> {
        match self.jobs.send_timeout(job, DEADLINE).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(Lost::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(Lost::NotTaken),
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Lost::Ended),
            Err(_) => Err(Lost::Late),
        }
    }
}

/// A caller that no longer listens for its answer is no concern of the connection.
fn work(service: Service, connection: Connection, mut queue: mpsc::Receiver<Job>) {
    let mut closing = Vec::new();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Write { statements, reply } => {
                let _ = reply.send(execute::write(service, &connection, &statements));
            }
            Job::Read { statement, reply } => {
                let _ = reply.send(execute::read(service, &connection, &statement));
            }
            // What is in the queue already is still done; nothing more gets in.
            Job::Close { reply } => {
                queue.close();
                closing.push(reply);
            }
        }
    }
    execute::close(service, connection);
    for reply in closing {
        let _ = reply.send(());
    }
}
