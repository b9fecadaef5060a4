//! The handle to a journal.

use std::sync::Arc;
use std::time::Duration;

use mainstay_domain::event::{Event, NewEvent};
use mainstay_domain::view::View;
use mainstay_storage::Store;
use mainstay_types::{Sequence, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{OpenError, ReadError, SubmitError};
use crate::follow::Follower;
use crate::submission::Pending;
use crate::verify::{self, Verified};
use crate::writer::{QUEUE, Request, Writer};
use crate::{log, open};

/// How long a submission waits for a place in the queue. Longer than the storage takes to say that it is not there.
const QUEUE_DEADLINE: Duration = Duration::from_secs(60);

/// The most events that one read gives, whatever it asks for, so that a page stays small in memory.
pub(crate) const READ_LIMIT: usize = 1000;

/// The journal. A clone is another handle; the writer ends with the last one, or with [`Journal::close`].
#[derive(Clone)]
pub struct Journal {
    store: Store,
    requests: mpsc::Sender<Request>,
    views: watch::Receiver<Arc<View>>,
}

/// What was recorded for a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<A> {
    /// What the decision answered.
    pub answer: A,
    /// The sequence number of a durable view that has its events.
    pub sequence: Sequence,
}

impl Journal {
    /// Opens the journal in a store that was opened with [`crate::SCHEMA`]: reads and checks it from the newest
    /// snapshot on, and cuts off what was never acknowledged.
    pub async fn open(store: Store) -> Result<Self, OpenError> {
        let (state, snapshot) = open::load(&store).await?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (publish, views) = watch::channel(Arc::new(state.view.clone()));
        tokio::spawn(Writer::new(store.clone(), state, snapshot, publish).run(queue));
        Ok(Self { store, requests, views })
    }

    /// The view of the newest durable event.
    pub fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// The views as they become durable. It closes with the journal.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// Runs a decision on the newest view and records its events; they are durable when this returns.
    ///
    /// The decision gets the time that its events will have. It may be run again on a newer view, and must depend on
    /// nothing but its arguments. Decisions run one after the other, each on what the ones before it decided. A call
    /// that is dropped before it returns may still be recorded.
    pub async fn submit<D, A, R>(&self, decide: D) -> Result<Committed<A>, SubmitError<R>>
    where
        D: Fn(&View, Timestamp) -> Result<(Vec<NewEvent>, A), R> + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        let (pending, answer) = Pending::new(decide);
        match self.requests.send_timeout(Request::Submit(Box::new(pending)), QUEUE_DEADLINE).await {
            Ok(()) => answer.await.unwrap_or(Err(SubmitError::Closed)),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(SubmitError::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(SubmitError::Closed),
        }
    }

    /// The events after a sequence number: as many as asked for, but no more than a thousand.
    pub async fn read(&self, after: Sequence, limit: usize) -> Result<Vec<Event>, ReadError> {
        let page = log::page(&self.store, after, limit.min(READ_LIMIT)).await?;
        Ok(page.iter().map(|stored| stored.decode()).collect::<Result<_, _>>()?)
    }

    /// All events after a sequence number, those to come too.
    pub fn follow(&self, after: Sequence) -> Follower {
        Follower::new(self.clone(), self.watch(), after)
    }

    /// Walks the whole chain, as [`crate::verify`] does.
    pub async fn verify(&self, progress: impl FnMut(Sequence, Sequence)) -> Result<Verified, ReadError> {
        verify::verify(&self.store, progress).await
    }

    /// The view as a fold of all events from the first, as [`crate::replay`] does.
    pub async fn replay(&self) -> Result<View, ReadError> {
        verify::replay(&self.store).await
    }

    /// Whether the storage answers now.
    pub async fn health(&self) -> Result<(), ReadError> {
        Ok(self.store.health().await?)
    }

    /// Records what waits, takes a snapshot, and closes the store. Later calls fail.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error here means that the writer has ended, which is what is waited for.
            let _ = closed.await;
        }
        self.store.close().await;
    }
}
