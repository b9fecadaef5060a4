//! Failures and delays on demand, and a record of what was called.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::EngineError;

/// The operations that can be made to fail or wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Start,
    Observe,
    Reconfigure,
    Stop,
    Remove,
    Provision,
    Deprovision,
    Bind,
    Unbind,
    Figures,
    Follow,
    TakeOver,
    Stay,
    BackUp,
    FollowLog,
    RestoreCluster,
    RestoreInstance,
    Rehearse,
    ClearScratch,
}

/// Calls of one operation wait as long as this lives.
#[derive(Debug)]
pub struct Hold {
    /// Whether the calls still have to wait; a dropped sender ends the wait too.
    _release: watch::Sender<()>,
    waiting: watch::Receiver<usize>,
}

impl Hold {
    /// Resolves once this many calls have come and wait.
    pub async fn reached(&mut self, calls: usize) {
        // The sender lives in the engine; when that is gone no call can come and the caller's deadline tells.
        let _ = self.waiting.wait_for(|waiting| *waiting >= calls).await;
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    failures: BTreeMap<Operation, VecDeque<EngineError>>,
    holds: BTreeMap<Operation, (watch::Receiver<()>, watch::Sender<usize>)>,
    calls: Vec<(Operation, String)>,
}

impl Faults {
    pub fn fail_next(&self, operation: Operation, error: EngineError) {
        self.inner().failures.entry(operation).or_default().push_back(error);
    }

    pub fn hold(&self, operation: Operation) -> Hold {
        let (release, released) = watch::channel(());
        let (waiting_sender, waiting) = watch::channel(0);
        self.inner().holds.insert(operation, (released, waiting_sender));
        Hold { _release: release, waiting }
    }

    pub fn calls(&self) -> Vec<(Operation, String)> {
        self.inner().calls.clone()
    }

    /// Every operation begins with this.
    pub async fn enter(&self, operation: Operation, subject: String) -> Result<(), EngineError> {
        let released = {
            let mut inner = self.inner();
            inner.calls.push((operation, subject));
            inner.holds.get(&operation).map(|(released, waiting)| {
                waiting.send_modify(|waiting| *waiting += 1);
                released.clone()
            })
        };
        if let Some(mut released) = released {
            // Nothing is ever sent: this resolves, with an error, once the hold is dropped.
            while released.changed().await.is_ok() {}
        }
        let failure = self.inner().failures.get_mut(&operation).and_then(VecDeque::pop_front);
        failure.map_or(Ok(()), Err)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Faults, Operation};
    use crate::EngineError;

    #[tokio::test]
    async fn failures_are_used_up_in_order() {
        let faults = Faults::default();
        faults.fail_next(Operation::Bind, EngineError::transient("first"));
        faults.fail_next(Operation::Bind, EngineError::transient("second"));
        for expected in ["first", "second"] {
            let error = faults.enter(Operation::Bind, String::new()).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(faults.enter(Operation::Bind, String::new()).await.is_ok());
        assert_eq!(faults.calls().len(), 3);
    }

    #[tokio::test]
    async fn a_held_call_waits_until_it_is_let_go() {
        let faults = Arc::new(Faults::default());
        let mut hold = faults.hold(Operation::Start);
        let call = tokio::spawn({
            let faults = faults.clone();
            async move { faults.enter(Operation::Start, String::new()).await }
        });
        hold.reached(1).await;
        assert!(!call.is_finished());
        drop(hold);
        assert!(call.await.unwrap().is_ok());
    }
}
