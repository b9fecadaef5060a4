//! Connections whose other end must take what it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::Pace;

/// A connection that breaks off once too little could be written for some time. Only the time that is spent waiting for
/// the other end counts against it.
pub struct Unstalled<S> {
    stream: S,
    pace: Option<Pace>,
    /// Waited since the last time that enough was taken.
    waited: Duration,
    /// Bytes taken since then.
    taken: u64,
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Unstalled<S> {
    pub fn new(stream: S, pace: Option<Pace>) -> Self {
        Self { stream, pace, waited: Duration::ZERO, taken: 0, wait: None }
    }

    /// The outcome of a write; a timeout where too little has been taken for too long.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Some(pace) = self.pace else { return outcome };
        if let Poll::Ready(done) = &outcome {
            if let Some((since, _)) = self.wait.take() {
                self.waited += since.elapsed();
            }
            self.taken += done.as_ref().map_or(0, bytes) as u64;
            if self.taken >= pace.bytes {
                (self.waited, self.taken) = (Duration::ZERO, 0);
            }
            return outcome;
        }
        let left = pace.within.saturating_sub(self.waited);
        let (_, sleep) = self.wait.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome, |count| *count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, outcome, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, outcome, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, outcome, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::Unstalled;
    use crate::Pace;

    const WITHIN: Duration = Duration::from_millis(400);

    /// How long a client is written to that takes so many bytes twenty times in that time, and whether it got all.
    async fn written_to(bytes: usize) -> (Duration, bool) {
        let (near, mut far) = duplex(1000);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; bytes];
            while far.read_exact(&mut buffer).await.is_ok() {
                sleep(WITHIN / 20).await;
            }
        });
        let begun = Instant::now();
        let mut stream = Unstalled::new(near, Some(Pace { bytes: 1000, within: WITHIN }));
        let outcome = stream.write_all(&[0; 12_000]).await;
        reader.abort();
        (begun.elapsed(), outcome.is_ok())
    }

    #[tokio::test]
    async fn a_client_that_takes_little_is_written_to_for_a_while_only() {
        let (took, all) = written_to(1).await;
        assert!(!all && took >= WITHIN && took < 10 * WITHIN, "a byte at a time, for {took:?}");
        let (took, all) = written_to(400).await;
        assert!(all && took > WITHIN, "slowly, and fast enough: {took:?}");
    }
}
