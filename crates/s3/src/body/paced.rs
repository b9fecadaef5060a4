//! Bodies whose senders may not stall.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hyper::body::{Body as _, Incoming};
use mainstay_listen::Pace;
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// A request's body. Only the time that is spent waiting for the sender counts against him.
pub struct Paced {
    body: Incoming,
    pace: Pace,
    /// Waiting since the last time that enough had come.
    waited: Duration,
    /// Bytes since then.
    received: u64,
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
    ended: Arc<AtomicBool>,
}

impl Paced {
    pub fn new(body: Incoming, pace: Pace) -> Self {
        Self { body, pace, waited: Duration::ZERO, received: 0, wait: None, ended: Arc::default() }
    }

    /// Whether all of it has come, also for whoever does not have it.
    pub fn ended(&self) -> Arc<AtomicBool> {
        self.ended.clone()
    }

    fn arrived(&mut self, bytes: usize) {
        if let Some((since, _)) = self.wait.take() {
            self.waited += since.elapsed();
        }
        self.received += bytes as u64;
        if self.received >= self.pace.bytes {
            (self.waited, self.received) = (Duration::ZERO, 0);
        }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let polled = Pin::new(&mut self.body).poll_frame(context);
            // Whoever knows how long it is may not ask for more than its last byte.
            if self.body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
                self.ended.store(true, Ordering::Relaxed);
            }
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    // HTTP's own trailers mean nothing in S3: its checksums come in chunks of its own form.
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.arrived(bytes.len());
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(BodyError::Connection(error)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let left = self.pace.within.saturating_sub(self.waited);
                    let (_, sleep) =
                        self.wait.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
                    ready!(sleep.as_mut().poll(context));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
            }
        }
    }
}
