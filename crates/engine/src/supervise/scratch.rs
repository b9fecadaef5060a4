//! What is made for a while and removed whatever happens: also when nobody waits any more for what it was made for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// The removals of an engine's scratch clusters that have not come to their end.
#[derive(Debug, Default)]
pub struct Removals(watch::Sender<usize>);

/// Removes something when it is told to, and by itself when it is dropped.
#[must_use = "what it removes is removed at once where it is dropped"]
pub struct Removal {
    /// Taken when it begins. Behind a lock, because a future can not be looked at by two threads, and what owns this can be.
    work: Mutex<Option<Work>>,
    under_way: watch::Sender<usize>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Removals {
    /// Carries this out at the end. Has to be called within a runtime, and dropped within one.
    pub fn at_end(&self, work: impl Future<Output = ()> + Send + 'static) -> Removal {
        Removal { work: Mutex::new(Some(Box::pin(work))), under_way: self.0.clone() }
    }

    /// Resolves once all that were begun have ended. Removals that wait for their end do not count.
    pub async fn finished(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|under_way| *under_way == 0).await;
    }
}

impl Removal {
    /// Removes it now. Where nobody waits for that any more, it goes on by itself.
    pub async fn now(mut self) {
        if let Some(running) = self.begin() {
            // A removal that panicked has said so itself.
            let _ = running.await;
        }
    }

    fn begin(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let work = self.work.get_mut().unwrap_or_else(PoisonError::into_inner).take()?;
        // A runtime that is gone carries nothing out: the next control plane removes what is left.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        self.under_way.send_modify(|under_way| *under_way += 1);
        let ended = Ended(self.under_way.clone());
        Some(runtime.spawn(async move {
            work.await;
            drop(ended);
        }))
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.begin();
    }
}

/// Says that a removal has ended, however it did.
struct Ended(watch::Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_modify(|under_way| *under_way -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Removals;

    #[tokio::test]
    async fn what_is_dropped_is_removed_once_and_can_be_waited_for() {
        let (removals, removed) = (Removals::default(), Arc::new(AtomicUsize::new(0)));
        let remove = || {
            let removed = removed.clone();
            async move {
                tokio::task::yield_now().await;
                removed.fetch_add(1, Ordering::SeqCst);
            }
        };
        removals.at_end(remove()).now().await;
        assert_eq!(removed.load(Ordering::SeqCst), 1);
        let waiting = removals.at_end(remove());
        removals.finished().await;
        drop(waiting);
        removals.finished().await;
        assert_eq!(removed.load(Ordering::SeqCst), 2);
    }
}
