//! Keeping a stream.
//!
//! ```text
//! source -> pieces -> SHA-256                                            (a thread of its own)
//!                  -> BLAKE3 of the whole, cut, chunk ids, is it known?  (another)
//!                        -> what is new, in groups: compress, seal       (as many as there are cores)
//!                              -> pack -> file                           (while the next pack is filled)
//!                                          -> record -> receipt
//! ```

mod lanes;
mod packer;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use mainstay_content::{BufferPool, Pieces};
use mainstay_dataplane::{Expect, Hints, IngestError, Measure, Receipt, Source, Trouble};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use self::lanes::{Chunked, CutLane, DigestLane, Fresh, Whole};
use self::packer::Packer;
use crate::chunk::ChunkId;
use crate::commit::{Commit, Kept};
use crate::inner::Inner;
use crate::joined;
use crate::pack::PackBuilder;
use crate::recipe::Content;

/// Bytes in which a stream is taken in: enough that handing them on costs nothing, few enough to stay in a cache.
const PIECE_LEN: usize = 1 << 20;

/// Pieces that wait for a thread to go over them, so that neither it nor whoever reads the stream waits for the other at each.
const WAITING_PIECES: usize = 2;

/// Buffers for pieces that are kept while nobody uses them.
const IDLE_PIECES: usize = 8;

/// New bytes that are compressed and sealed at a time by one thread.
const GROUP_LEN: usize = 512 << 10;

/// New bytes that are in work, compressed or not, before more is taken in. With pieces that wait and are gone over and two packs,
/// one that is filled and one that is written, that is what a stream holds in memory: 12 + 2 x 4 + 2 x 18 MiB, below 64.
const WINDOW: usize = 12 << 20;

/// What all streams are taken in by.
pub(crate) fn pieces() -> BufferPool {
    BufferPool::new(PIECE_LEN, IDLE_PIECES)
}

/// Chunks of a stream that are on their way into a pack.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<HashSet<ChunkId>>>);

/// Keeps what an ingest relies on, until it is dropped.
struct Session {
    inner: Arc<Inner>,
    number: u64,
}

impl Inner {
    pub(crate) async fn ingest(
        self: &Arc<Self>,
        commits: &mpsc::Sender<Commit>,
        source: Source,
        hints: Hints,
    ) -> Result<Receipt, IngestError> {
        if hints.key.is_some() {
            return Err(Trouble::unavailable(
                "a repository seals everything with a key of its own, and takes none with content; leave it out",
            )
            .into());
        }
        self.may_write().await?;
        let session = Session::begin(self);
        let Filled { whole, content, rest } = self.fill(source, &hints).await?;
        let (reply, kept) = oneshot::channel();
        let gone = |_| Trouble::unavailable("the repository is being closed");
        let commit = Commit::Keep { content, rest, owner: hints.owner, reply };
        commits.send(commit).await.map_err(|_| gone(()))?;
        let Kept { claim, known } = kept.await.map_err(|_| gone(()))??;
        drop(session);
        let Whole { address, sha256, md5, size } = whole;
        Ok(Receipt { address, sha256, md5: md5.filter(|_| hints.md5), size, claim, key: None, known })
    }

    async fn fill(self: &Arc<Self>, source: Source, hints: &Hints) -> Result<Filled, IngestError> {
        let expect = &hints.expect;
        let mut pieces = Pieces::new(source, self.pieces.clone());
        let pending = Pending::default();
        let (to_digest, to_be_digested) = mpsc::channel(WAITING_PIECES);
        let (to_cut, to_be_cut) = mpsc::channel(WAITING_PIECES);
        let digest = DigestLane::new(hints.md5 || expect.md5.is_some()).run(to_be_digested);
        let work = Work::new(Arc::clone(self), pending.clone());
        let cut = CutLane::new(Arc::clone(self), pending, hints.cut).run(to_be_cut, work);
        // They end with this, however it ends.
        let digest = AbortOnDropHandle::new(tokio::spawn(digest));
        let cut = AbortOnDropHandle::new(tokio::spawn(cut));
        let mut size = 0;
        while let Some(piece) = pieces.next().await.map_err(IngestError::Source)? {
            size += piece.len() as u64;
            if expect.size.is_some_and(|expected| size > expected) {
                return Err(IngestError::Mismatch(Measure::Size));
            }
            // Who takes no more has failed, and says so below.
            if to_digest.send(piece.clone()).await.is_err() || to_cut.send(piece).await.is_err() {
                break;
            }
        }
        drop((to_digest, to_cut));
        let Chunked { address, recipe, work } = joined(cut).await.map_err(Trouble::from)?;
        let (sha256, md5) = joined(digest).await;
        let whole = Whole { address, sha256, md5, size };
        whole.meet(expect).map_err(IngestError::Mismatch)?;
        let rest = work.finish().await.map_err(Trouble::from)?;
        Ok(Filled { whole, content: Content { address, size, recipe }, rest })
    }
}

struct Filled {
    whole: Whole,
    content: Content,
    /// Chunks that made no whole pack.
    rest: PackBuilder,
}

/// What is new and on its way into packs, in order.
struct Work {
    inner: Arc<Inner>,
    groups: VecDeque<(usize, JoinHandle<PackBuilder>)>,
    /// Bytes of all groups before they were compressed.
    len: usize,
    packer: Packer,
}

impl Work {
    fn new(inner: Arc<Inner>, pending: Pending) -> Self {
        Self { packer: Packer::new(Arc::clone(&inner), pending), inner, groups: VecDeque::new(), len: 0 }
    }

    fn begin(&mut self, fresh: Vec<Fresh>) {
        let mut fresh = fresh.into_iter().peekable();
        while fresh.peek().is_some() {
            let mut len = 0;
            let mut group = Vec::new();
            while len < GROUP_LEN
                && let Some(chunk) = fresh.next()
            {
                len += chunk.bytes.len();
                group.push(chunk);
            }
            let inner = Arc::clone(&self.inner);
            self.groups.push_back((len, tokio::task::spawn_blocking(move || lanes::seal(&inner, group, len))));
            self.len += len;
        }
    }

    /// Packs what is done until no more than some bytes are left.
    async fn keep_within(&mut self, window: usize) -> Result<(), crate::files::Failure> {
        while self.len > window
            && let Some((len, group)) = self.groups.pop_front()
        {
            self.packer.push(&joined(group).await).await?;
            self.len -= len;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<PackBuilder, crate::files::Failure> {
        self.keep_within(0).await?;
        self.packer.finish().await
    }
}

impl Whole {
    fn meet(&self, expect: &Expect) -> Result<(), Measure> {
        let differs = |measure, differs: bool| if differs { Err(measure) } else { Ok(()) };
        differs(Measure::Size, expect.size.is_some_and(|size| size != self.size))?;
        differs(Measure::Sha256, expect.sha256.is_some_and(|sha256| sha256 != self.sha256))?;
        differs(Measure::Md5, expect.md5.is_some() && expect.md5 != self.md5)
    }
}

impl Pending {
    /// Whether a chunk is new among them.
    fn insert(&self, id: ChunkId) -> bool {
        self.lock().insert(id)
    }

    fn remove(&self, ids: impl Iterator<Item = ChunkId>) {
        let mut pending = self.lock();
        for id in ids {
            pending.remove(&id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<ChunkId>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Session {
    fn begin(inner: &Arc<Inner>) -> Self {
        let number = inner.state().begin_session();
        Self { inner: Arc::clone(inner), number }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.inner.state().end_session(self.number);
    }
}
