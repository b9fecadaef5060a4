//! The one task that appends.

use std::sync::Arc;

use mainstay_domain::view::View;
use mainstay_storage::{Store, WriteError};
use mainstay_types::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::chain::{State, Stored};
use crate::submission::{Failure, Submission};
use crate::{log, open, snapshot};

/// Requests that may wait: four full batches. Whoever comes later waits outside, where it costs a future only.
pub(crate) const QUEUE: usize = 1024;

/// Submissions that are stored together. Past a few hundred, the fsync that they share no longer weighs.
const BATCH: usize = 256;

/// How often a batch is decided anew because another writer of the same store was faster.
const CONFLICT_TRIES: usize = 16;

/// What the writer is asked to do.
pub(crate) enum Request {
    Submit(Box<dyn Submission>),
    Close(oneshot::Sender<()>),
}

/// What it needs for that.
pub(crate) struct Writer {
    store: Store,
    /// The state after the newest event that is known to be durable.
    durable: State,
    /// Whether a commit was not confirmed since, so that the storage may be ahead of that state.
    doubtful: bool,
    publish: watch::Sender<Arc<View>>,
    /// The sequence number of the newest snapshot.
    snapshot: u64,
    snapshotting: Option<JoinHandle<()>>,
}

/// What a batch comes to on one state.
struct Attempt {
    state: State,
    events: Vec<Stored>,
}

impl Writer {
    pub fn new(store: Store, durable: State, snapshot: u64, publish: watch::Sender<Arc<View>>) -> Self {
        Self { store, durable, doubtful: false, publish, snapshot, snapshotting: None }
    }

    /// Works until it is closed or the last handle is gone.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut waiting, BATCH).await > 0 {
            let mut batch = Vec::with_capacity(waiting.len());
            let mut closing = Vec::new();
            for request in waiting.drain(..) {
                match request {
                    Request::Submit(submission) => batch.push(submission),
                    Request::Close(done) => closing.push(done),
                }
            }
            if !batch.is_empty() {
                self.commit(batch).await;
            }
            if !closing.is_empty() {
                queue.close();
                self.snapshot_at_the_end().await;
                return;
            }
            self.snapshot_now_and_then();
            // Callers that were just answered come first: what they submit next goes into the next batch, and not only
            // the one submission that came meanwhile.
            tokio::task::yield_now().await;
        }
    }

    /// Records a batch, or nothing of it, and answers everybody in it.
    async fn commit(&mut self, mut batch: Vec<Box<dyn Submission>>) {
        match self.try_commit(&mut batch).await {
            Ok(()) => {
                let sequence = self.durable.head.sequence;
                batch.into_iter().for_each(|submission| submission.confirm(sequence));
            }
            Err(failure) => {
                tracing::warn!(submissions = batch.len(), ?failure, "the journal could not record a batch");
                batch.into_iter().for_each(|submission| submission.fail(&failure));
            }
        }
    }

    async fn try_commit(&mut self, batch: &mut [Box<dyn Submission>]) -> Result<(), Failure> {
        if self.doubtful {
            self.catch_up().await?;
        }
        for _ in 0..CONFLICT_TRIES {
            let Attempt { state, events } = decide(&self.durable, batch);
            if events.is_empty() {
                return Ok(());
            }
            let statements = log::append(self.durable.head, state.head, &events);
            match self.store.write(statements).await {
                Ok(()) => {
                    self.adopt(state);
                    return Ok(());
                }
                Err(WriteError::ExpectationNotMet { statement: 0, .. }) => {
                    self.catch_up().await?;
                }
                Err(error @ WriteError::OutcomeUnknown { .. }) => return self.look(state, error).await,
                Err(error) => return Err(Failure::Write(error.into())),
            }
        }
        Err(Failure::Conflict { tries: CONFLICT_TRIES })
    }

    /// Finds out what became of a batch whose commit was not confirmed. The chain tells: no other batch has its digest.
    async fn look(&mut self, attempted: State, error: WriteError) -> Result<(), Failure> {
        match log::head(&self.store).await {
            Ok(head) if head == attempted.head => {
                self.adopt(attempted);
                Ok(())
            }
            // Somebody else may have gone on from it, or it may yet be committed: the caller has to look.
            Ok(_) | Err(_) => {
                self.doubtful = true;
                Err(Failure::Write(error.into()))
            }
        }
    }

    /// Folds in what another writer recorded.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let mut state = self.durable.clone();
        open::catch_up(&self.store, &mut state).await.map_err(|error| Failure::CatchUp(error.into()))?;
        self.adopt(state);
        self.doubtful = false;
        Ok(())
    }

    fn adopt(&mut self, state: State) {
        self.publish.send_replace(Arc::new(state.view.clone()));
        self.durable = state;
    }

    /// Takes a snapshot beside the appends. One that fails is logged, and made good by the next.
    fn snapshot_now_and_then(&mut self) {
        let due = self.durable.head.sequence - self.snapshot >= snapshot::EVENTS_BETWEEN;
        let idle = self.snapshotting.as_ref().is_none_or(JoinHandle::is_finished);
        if due && idle {
            self.snapshot = self.durable.head.sequence;
            let (store, state) = (self.store.clone(), self.durable.clone());
            self.snapshotting = Some(tokio::spawn(take_snapshot(store, state)));
        }
    }

    async fn snapshot_at_the_end(&mut self) {
        if let Some(snapshotting) = self.snapshotting.take() {
            let _ = snapshotting.await;
        }
        if self.durable.head.sequence > self.snapshot {
            take_snapshot(self.store.clone(), self.durable.clone()).await;
        }
    }
}

/// Runs the decisions of a batch one after the other, each on what the ones before it decided.
fn decide(durable: &State, batch: &mut [Box<dyn Submission>]) -> Attempt {
    let mut attempt = Attempt { state: durable.clone(), events: Vec::new() };
    let now = durable.time(Timestamp::now());
    for submission in batch {
        let events = submission.decide(&attempt.state.view, now);
        if events.is_empty() {
            continue;
        }
        let mut state = attempt.state.clone();
        match state.record(events, now) {
            Ok(events) => {
                attempt.events.extend(events);
                attempt.state = state;
            }
            Err(error) => {
                tracing::error!(%error, "decided events do not fit onto the view");
                submission.retract(error);
            }
        }
    }
    attempt
}

/// A snapshot only saves time at the next start: that it could not be stored fails nobody.
async fn take_snapshot(store: Store, state: State) {
    let sequence = state.head.sequence;
    match snapshot::take(&store, state).await {
        Ok(()) => tracing::debug!(sequence, "took a snapshot of the journal"),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(sequence, %error, source, "could not take a snapshot of the journal");
        }
    }
}
