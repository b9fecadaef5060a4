//! Connections that are not closed in the face of somebody who still sends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What is read at once of what nobody wants.
const DISCARDED: usize = 16 << 10;

/// A connection whose other end can be left to send into nothing for a while after the answer.
///
/// A system that closes a connection with unread bytes resets it, and the other end loses an answer that it has not read
/// yet (RFC 9112, section 9.6). Many clients read none before they have sent all.
pub struct Lingering<S> {
    stream: S,
    more_comes: MoreComes,
    /// How long the other end may go on sending.
    within: Duration,
    stage: Stage,
}

/// Says of a connection that bytes may come on it which nobody wants. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct MoreComes(Arc<AtomicBool>);

enum Stage {
    Open,
    /// Nothing more is sent to the other end, which knows it.
    Shut(Pin<Box<Sleep>>),
}

impl MoreComes {
    pub fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Lingering<S> {
    pub fn new(stream: S, more_comes: MoreComes, within: Duration) -> Self {
        Self { stream, more_comes, within, stage: Stage::Open }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Tells the other end that no more comes, and waits for it to stop, where it may not have.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Open => {
                    std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                    if !this.more_comes.is_said() {
                        return Poll::Ready(Ok(()));
                    }
                    this.stage = Stage::Shut(Box::pin(tokio::time::sleep(this.within)));
                }
                Stage::Shut(end) => {
                    // Looked at first: who sends fast enough leaves no other moment for it.
                    if end.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut discarded = [0; DISCARDED];
                    let mut buffer = ReadBuf::new(&mut discarded);
                    let read = std::task::ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
                    if read.is_err() || buffer.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Duration, Instant};

    use super::{Lingering, MoreComes};

    const WITHIN: Duration = Duration::from_millis(400);

    /// How long closing takes on somebody who sends so much and then waits for an answer, and what is left to send.
    async fn closed_on(more: bool, sends: usize, goes: bool) -> (Duration, bool) {
        let (near, far) = duplex(1000);
        let more_comes = MoreComes::default();
        if more {
            more_comes.say();
        }
        let sender = tokio::spawn(async move {
            let mut far = far;
            let sent = far.write_all(&vec![0; sends]).await.is_ok();
            if !goes {
                std::future::pending::<()>().await;
            }
            let mut answer = Vec::new();
            far.read_to_end(&mut answer).await.unwrap();
            sent && answer == b"answer"
        });
        let mut stream = Lingering::new(near, more_comes, WITHIN);
        stream.write_all(b"answer").await.unwrap();
        let begun = Instant::now();
        stream.shutdown().await.unwrap();
        let took = begun.elapsed();
        drop(stream);
        if !goes {
            sender.abort();
        }
        (took, sender.await.unwrap_or(false))
    }

    #[tokio::test]
    async fn somebody_who_still_sends_gets_to_the_answer() {
        let (took, answered) = closed_on(true, 100_000, true).await;
        assert!(answered && took < WITHIN, "{took:?}");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_who_does_not_go() {
        let (took, _) = closed_on(true, 100_000, false).await;
        assert!(took >= WITHIN && took < 2 * WITHIN, "{took:?}");
        let (took, _) = closed_on(false, 0, false).await;
        assert!(took < WITHIN, "{took:?}");
    }
}
