//! Submissions: a decision that waits for its turn, whatever it answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mainstay_domain::event::NewEvent;
use mainstay_domain::view::{ApplyError, View};
use mainstay_storage::WriteError;
use mainstay_types::{Sequence, Timestamp};
use tokio::sync::oneshot;

use crate::error::{ReadError, SubmitError};
use crate::journal::Committed;

/// What a caller waits for.
type Answer<A, R> = Result<Committed<A>, SubmitError<R>>;

/// What the writer knows of a submission.
pub(crate) trait Submission: Send {
    /// Decides on a view, anew each time. The events are none where it is refused.
    fn decide(&mut self, view: &View, now: Timestamp) -> Vec<NewEvent>;

    /// Takes the decision back: its events do not fit.
    fn retract(&mut self, error: ApplyError);

    /// Answers that the last decision stands, with the sequence number that its view has.
    fn confirm(self: Box<Self>, sequence: Sequence);

    /// Answers that nothing of it stands.
    fn fail(self: Box<Self>, failure: &Failure);
}

/// Why a whole batch was not recorded.
#[derive(Debug)]
pub(crate) enum Failure {
    Write(Arc<WriteError>),
    Conflict { tries: usize },
    CatchUp(Arc<ReadError>),
}

/// A decision of a caller that waits for its answer.
pub(crate) struct Pending<D, A, R> {
    decide: D,
    decided: Result<A, SubmitError<R>>,
    reply: oneshot::Sender<Answer<A, R>>,
}

impl<D, A, R> Pending<D, A, R> {
    pub fn new(decide: D) -> (Self, oneshot::Receiver<Answer<A, R>>) {
        let (reply, answer) = oneshot::channel();
        (Self { decide, decided: Err(SubmitError::Closed), reply }, answer)
    }
}

/// A caller that went away meanwhile is not told, and what was decided for it stands all the same.
impl<D, A, R> Submission for Pending<D, A, R>
where
    D: Fn(&View, Timestamp) -> Result<(Vec<NewEvent>, A), R> + Send,
    A: Send,
    R: Send,
{
    fn decide(&mut self, view: &View, now: Timestamp) -> Vec<NewEvent> {
        // A mistake in one decision must not end the writer, and with it everybody else's. The decision has nothing but
        // shared references, so that it leaves nothing half-changed behind.
        let (events, decided) = match catch_unwind(AssertUnwindSafe(|| (self.decide)(view, now))) {
            Ok(Ok((events, answer))) => (events, Ok(answer)),
            Ok(Err(rejection)) => (Vec::new(), Err(SubmitError::Rejected(rejection))),
            Err(_) => (Vec::new(), Err(SubmitError::Panicked)),
        };
        self.decided = decided;
        events
    }

    fn retract(&mut self, error: ApplyError) {
        self.decided = Err(SubmitError::Inconsistent(error));
    }

    fn confirm(self: Box<Self>, sequence: Sequence) {
        let _ = self.reply.send(self.decided.map(|answer| Committed { answer, sequence }));
    }

    fn fail(self: Box<Self>, failure: &Failure) {
        let _ = self.reply.send(Err(failure.error()));
    }
}

impl Failure {
    fn error<R>(&self) -> SubmitError<R> {
        match self {
            Self::Conflict { tries } => SubmitError::Conflict { tries: *tries },
            Self::CatchUp(error) => match **error {
                ReadError::Misfit(_) => SubmitError::Broken(error.clone()),
                ReadError::Storage(mainstay_storage::ReadError::Unavailable { .. }) => {
                    SubmitError::Unavailable(error.clone())
                }
                ReadError::Storage(_) => SubmitError::Storage(error.clone()),
            },
            Self::Write(error) => match **error {
                WriteError::Full { .. } => SubmitError::Full(error.clone()),
                WriteError::Unavailable { .. } => SubmitError::Unavailable(error.clone()),
                WriteError::OutcomeUnknown { .. } => SubmitError::OutcomeUnknown(error.clone()),
                _ => SubmitError::Storage(error.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_storage::{ReadError as Reading, Service};

    use super::Failure;
    use crate::chain::{Misfit, MisfitReason};
    use crate::error::{ReadError, SubmitError};

    fn told(error: impl Into<ReadError>) -> SubmitError<()> {
        Failure::CatchUp(Arc::new(error.into())).error()
    }

    #[test]
    fn a_journal_that_can_not_be_read_now_is_not_broken() {
        let away = Reading::Unavailable { service: Service::Journal, source: "the server is away".into() };
        assert!(matches!(told(away), SubmitError::Unavailable(_)));
        let damaged = Reading::Corrupt { service: Service::Journal, source: "a page is torn".into() };
        assert!(matches!(told(damaged), SubmitError::Storage(_)));
        let misfit = Misfit { sequence: 1, reason: MisfitReason::Missing };
        assert!(matches!(told(misfit), SubmitError::Broken(_)));
    }
}
