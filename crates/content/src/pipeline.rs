//! Hashing large content on other threads, beside the I/O.

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::digest::Sha256Hasher;
use crate::md5::{self, Md5Hasher};
use crate::tree::TreeBuilder;
use crate::{Digests, Encoder, Header};

/// Where stored bytes go.
pub trait Sink: Send + 'static {
    type Error: Send + 'static;

    /// Takes the next stored bytes, on a thread that may block. It is called once for each piece that is pushed, and once
    /// at the end; the bytes may be empty.
    fn write(&mut self, stored: Bytes) -> Result<(), Self::Error>;
}

/// Hashes, encodes and writes a stream: while one piece is in work on other threads, the next may be filled.
///
/// Dropped, it finishes no more than the piece in work; its sink is dropped then, on whatever thread.
pub struct Pipeline<S: Sink> {
    state: State<S>,
}

/// What became of a stream.
pub struct Kept<S> {
    pub digests: Digests,
    pub header: Header,
    pub sink: S,
}

enum State<S: Sink> {
    Idle(Box<Lanes<S>>),
    Busy(Running<S>),
    /// The sink has failed, or a call was given up half-way.
    Broken,
}

/// What goes over each piece, each in its own order.
struct Lanes<S> {
    keep: KeepLane<S>,
    sha256: Sha256Hasher,
    md5: Option<Md5Hasher>,
}

struct KeepLane<S> {
    tree: TreeBuilder,
    encoder: Encoder,
    sink: S,
}

struct Running<S: Sink> {
    keep: JoinHandle<Result<KeepLane<S>, S::Error>>,
    sha256: JoinHandle<Sha256Hasher>,
    md5: Option<oneshot::Receiver<Md5Hasher>>,
}

impl<S: Sink> Pipeline<S> {
    pub fn new(encoder: Encoder, md5: bool, sink: S) -> Self {
        let keep = KeepLane { tree: TreeBuilder::new(), encoder, sink };
        let lanes = Lanes { keep, sha256: Sha256Hasher::new(), md5: md5.then(Md5Hasher::new) };
        Self { state: State::Idle(Box::new(lanes)) }
    }

    /// Takes the next piece as soon as the one before is done with.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), S::Error> {
        let lanes = self.lanes().await?;
        self.state = State::Busy(lanes.start(piece));
        Ok(())
    }

    /// Waits for the last piece.
    pub async fn finish(mut self) -> Result<Kept<S>, S::Error> {
        let Lanes { keep, sha256, md5 } = self.lanes().await?;
        let form = keep.encoder.form().clone();
        let KeepLane { tree, encoder, mut sink } = keep;
        let (tree, table, sink) = done(tokio::task::spawn_blocking(move || {
            let (last, table) = encoder.finish();
            sink.write(last)?;
            Ok((tree.finish(), table, sink))
        }))
        .await?;
        let digests = Digests { tree, sha256: sha256.finish(), md5: md5.map(Md5Hasher::finish) };
        let header = Header::new(&digests, form, table);
        Ok(Kept { digests, header, sink })
    }

    async fn lanes(&mut self) -> Result<Lanes<S>, S::Error> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Idle(lanes) => Ok(*lanes),
            State::Busy(running) => running.wait().await,
            State::Broken => panic!("a pipeline is not used again after its sink has failed"),
        }
    }
}

impl<S: Sink> Lanes<S> {
    fn start(self, piece: Bytes) -> Running<S> {
        let Self { mut keep, mut sha256, md5 } = self;
        let md5 = md5.map(|md5| md5::hash(md5, piece.clone()));
        let sha256 = {
            let piece = piece.clone();
            tokio::task::spawn_blocking(move || {
                sha256.update(&piece);
                sha256
            })
        };
        let keep = tokio::task::spawn_blocking(move || {
            keep.tree.update(&piece);
            let stored = keep.encoder.update(piece);
            keep.sink.write(stored)?;
            Ok(keep)
        });
        Running { keep, sha256, md5 }
    }
}

impl<S: Sink> Running<S> {
    async fn wait(self) -> Result<Lanes<S>, S::Error> {
        let keep = done(self.keep).await?;
        let sha256 = done(self.sha256).await;
        let md5 = match self.md5 {
            Some(md5) => Some(md5.await.expect("the threads that hash live as long as the process")),
            None => None,
        };
        Ok(Lanes { keep, sha256, md5 })
    }
}

async fn done<T>(job: JoinHandle<T>) -> T {
    match job.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels such a job, and it polls nothing to its end any more.
            Err(_) => std::future::pending().await,
        },
    }
}
