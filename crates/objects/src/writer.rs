//! The one task that changes the index: whatever waits is decided and stored in one transaction.

use std::collections::VecDeque;
use std::sync::Arc;

use mainstay_storage::{Statement, WriteError};
use tokio::sync::{mpsc, oneshot};

use crate::directory::Directory;
use crate::error::{Error, IndexError, Refusal};
use crate::fetch;
use crate::inner::Inner;
use crate::mutation::Mutation;
use crate::stage::{Need, Outcome, Stage, Stop};

/// Mutations that may wait: four full batches. Whoever comes later waits outside, where it costs a future only.
pub(crate) const QUEUE: usize = 1024;

/// Mutations that are stored together. Past a few hundred, the fsync that they share no longer weighs.
const BATCH: usize = 256;

/// How often a batch is decided anew because another writer of the same index was faster.
const CONFLICT_TRIES: usize = 16;

/// What the writer is asked to do.
pub(crate) enum Request {
    Change(Box<dyn Submission>),
    Close(oneshot::Sender<()>),
}

/// A mutation with whoever waits for it.
pub(crate) trait Submission: Send {
    fn needs(&self, stage: &Stage) -> Vec<Need>;
    /// Decides and remembers the answer; a refusal is one too.
    fn decide(&mut self, stage: &mut Stage) -> Result<(), Pause>;
    fn answer(self: Box<Self>, stored: Result<(), IndexError>);
}

/// Why a decision has to wait.
pub(crate) enum Pause {
    Lacks(Need),
    NextBatch,
}

struct Waiting<M: Mutation> {
    mutation: M,
    decided: Option<Result<M::Answer, Refusal>>,
    reply: oneshot::Sender<Result<M::Answer, Error>>,
}

pub(crate) struct Writer {
    inner: Arc<Inner>,
    /// Of the newest change that is known to be durable.
    sequence: u64,
    /// Whether a change was not confirmed, or another process was seen to write, so that what is stored counts.
    doubtful: bool,
}

/// Hands a mutation to the writer and waits until it is durable or refused.
pub(crate) async fn submit<M: Mutation>(queue: &mpsc::Sender<Request>, mutation: M) -> Result<M::Answer, Error> {
    let (reply, answer) = oneshot::channel();
    let waiting = Waiting { mutation, decided: None, reply };
    queue.send(Request::Change(Box::new(waiting))).await.map_err(|_| IndexError::Closed)?;
    answer.await.map_err(|_| IndexError::Closed)?
}

impl<M: Mutation> Submission for Waiting<M> {
    fn needs(&self, stage: &Stage) -> Vec<Need> {
        self.mutation.needs(stage)
    }

    fn decide(&mut self, stage: &mut Stage) -> Result<(), Pause> {
        self.decided = Some(match self.mutation.decide(stage) {
            Ok(answer) => Ok(answer),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Lacks(need)) => return Err(Pause::Lacks(need)),
            Err(Stop::NextBatch) => return Err(Pause::NextBatch),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, stored: Result<(), IndexError>) {
        let Self { mut mutation, decided, reply } = *self;
        if stored.is_ok() && matches!(decided, Some(Ok(_))) {
            mutation.stored();
        }
        // Content is no longer on its way when its caller hears of it.
        drop(mutation);
        let answer = match (stored, decided) {
            (Ok(()), Some(decided)) => decided.map_err(Error::Refused),
            (Ok(()), None) => Err(IndexError::Closed.into()),
            (Err(error), _) => Err(error.into()),
        };
        // A caller that went away meanwhile is not told, and what it changed stands all the same.
        let _ = reply.send(answer);
    }
}

// === impl Writer ===

impl Writer {
    pub fn new(inner: Arc<Inner>, sequence: u64) -> Self {
        Self { inner, sequence, doubtful: false }
    }

    /// Works until it is closed or the last handle is gone.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(BATCH);
        let mut waiting = VecDeque::with_capacity(BATCH);
        while queue.recv_many(&mut requests, BATCH).await > 0 {
            let mut closing = Vec::new();
            for request in requests.drain(..) {
                match request {
                    Request::Change(submission) => waiting.push_back(submission),
                    Request::Close(done) => closing.push(done),
                }
            }
            while !waiting.is_empty() {
                self.commit(&mut waiting).await;
            }
            if !closing.is_empty() {
                return;
            }
            // Callers that were just answered come first: what they change next goes into the next batch, and not only
            // the one mutation that came meanwhile.
            tokio::task::yield_now().await;
        }
    }

    /// Stores as many of those that wait as go together, or nothing of them, and answers them.
    async fn commit(&mut self, waiting: &mut VecDeque<Box<dyn Submission>>) {
        let (mut tries, mut limit) = (1, BATCH);
        let (decided, result) = loop {
            match self.try_commit(waiting, limit).await {
                (_, Err(Failure::Overtaken(_))) if tries < CONFLICT_TRIES => {
                    self.doubtful = true;
                    tries += 1;
                }
                // One that meets damage fails alone, and not with all that happen to be beside it.
                (decided, Err(Failure::Contradicted(_) | Failure::Unreadable(_))) if decided > 1 => limit = 1,
                (decided, Err(failure)) => break (decided, Err(IndexError::from(failure))),
                (decided, Ok(())) => break (decided, Ok(())),
            }
        };
        if let Err(error) = &result {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(mutations = decided, %error, source, "the index of objects did not take a batch");
        }
        waiting.drain(..decided).for_each(|submission| submission.answer(result.clone()));
    }

    /// One try, and how many of those that wait it was about: one at least.
    async fn try_commit(
        &mut self,
        waiting: &mut VecDeque<Box<dyn Submission>>,
        limit: usize,
    ) -> (usize, Result<(), Failure>) {
        if self.doubtful
            && let Err(error) = self.catch_up().await
        {
            return (waiting.len(), Err(Failure::Index(error)));
        }
        let inner = self.inner.clone();
        let mut stage = Stage::new(inner.now(), self.sequence, inner.directory(), inner.usages());
        let decided = match decide(&inner, &mut stage, waiting, limit).await {
            Ok(decided) => decided,
            Err(error) => return (waiting.len().min(limit), Err(error.into())),
        };
        let Some((statements, outcome)) = stage.finish() else { return (decided, Ok(())) };
        (decided, self.store(statements, outcome).await)
    }

    async fn store(&mut self, statements: Vec<Statement>, outcome: Outcome) -> Result<(), Failure> {
        if let Err(error) = self.inner.store.write(statements).await {
            return Err(match error {
                WriteError::ExpectationNotMet { statement: 0, .. } => Failure::Overtaken(error),
                error => {
                    self.doubtful = true;
                    match error {
                        WriteError::ExpectationNotMet { .. } | WriteError::Constraint { .. } => {
                            Failure::Contradicted(error)
                        }
                        error => Failure::Index(error.into()),
                    }
                }
            });
        }
        self.sequence = outcome.sequence;
        for (place, known) in outcome.current {
            self.inner.cache.publish(place, known);
        }
        self.inner.update_usages(outcome.usages, outcome.removed_bucket);
        if let Some(directory) = outcome.directory {
            self.inner.set_directory(directory);
        }
        if outcome.events {
            self.inner.outbox.notify_one();
        }
        Ok(())
    }

    /// Goes on from what is stored, which another process may have written, or a change of our own that was not confirmed.
    async fn catch_up(&mut self) -> Result<(), IndexError> {
        let sequence = fetch::head(&self.inner.store).await?;
        let (directory, usages) = Directory::load(&self.inner.store).await?;
        self.inner.cache.clear();
        self.inner.set_directory(Arc::new(directory));
        self.inner.set_usages(usages);
        self.sequence = sequence;
        self.doubtful = false;
        Ok(())
    }
}

/// Why a batch was not stored.
enum Failure {
    /// Another writer was faster: the batch can be decided anew.
    Overtaken(WriteError),
    /// What is stored is not what one of the mutations was decided on.
    Contradicted(WriteError),
    /// A row that one of the mutations depends on is damaged.
    Unreadable(IndexError),
    Index(IndexError),
}

/// Decides those that wait one after the other, each on what the ones before it decided. Answers how many.
async fn decide(
    inner: &Inner,
    stage: &mut Stage,
    waiting: &mut VecDeque<Box<dyn Submission>>,
    limit: usize,
) -> Result<usize, IndexError> {
    let needs = waiting.iter().take(limit).flat_map(|submission| submission.needs(stage)).collect();
    fetch::all(inner, stage, needs).await?;
    for (place, submission) in waiting.iter_mut().take(limit).enumerate() {
        loop {
            match submission.decide(stage) {
                Ok(()) => break,
                Err(Pause::Lacks(need)) => fetch::all(inner, stage, vec![need]).await?,
                Err(Pause::NextBatch) => return Ok(place),
            }
        }
        if stage.is_closed() {
            return Ok(place + 1);
        }
    }
    Ok(waiting.len().min(limit))
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Record(_) => Self::Unreadable(error),
            error => Self::Index(error),
        }
    }
}

impl From<Failure> for IndexError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Overtaken(error) | Failure::Contradicted(error) => error.into(),
            Failure::Unreadable(error) | Failure::Index(error) => error,
        }
    }
}
