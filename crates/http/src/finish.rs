//! Work that is carried out to its end, whoever hangs up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How many requests may go on without anybody who waits for them: as many as there are connections. Those beyond end
/// where they are, which is what a crash does to them too.
pub(crate) const LEFT_ALONE: usize = 1024;

/// Work that goes on by itself where it is dropped before its end. A credential that was handed out gets its lease, a
/// token whose revocation has begun is revoked, although the client has hung up in the middle.
pub(crate) struct Finish<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    places: Arc<Semaphore>,
}

impl<T: Send + 'static> Finish<T> {
    pub(crate) fn new(places: &Arc<Semaphore>, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), places: places.clone() }
    }
}

impl<T: Send + 'static> Future for Finish<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Nobody polls what has ended.
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Finish<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let (Ok(runtime), Ok(place)) = (Handle::try_current(), self.places.clone().try_acquire_owned()) else { return };
        runtime.spawn(async move {
            work.await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Semaphore, oneshot};
    use tokio::time::timeout;

    use super::Finish;

    #[tokio::test]
    async fn what_is_dropped_goes_on_as_long_as_there_is_a_place() {
        let places = Arc::new(Semaphore::new(1));
        let begin = || {
            let ((go_on, gate), (ended, end)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
            let work = Finish::new(&places, async move {
                let _ = gate.await;
                let _ = ended.send(());
            });
            (work, go_on, end)
        };
        let ((one, go_on_one, end_one), (other, _go_on_other, end_other)) = (begin(), begin());
        assert!(timeout(Duration::from_millis(1), one).await.is_err());
        drop(other);
        assert!(end_other.await.is_err());
        go_on_one.send(()).unwrap();
        end_one.await.unwrap();
    }
}
