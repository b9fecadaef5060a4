//! Content comes out again: chunk by chunk verified, read ahead within a bound.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use mainstay_dataplane::{Address, Body, Serve, ServeError, Served, Verified, Verify};
use mainstay_types::Digest;
use tokio_util::task::AbortOnDropHandle;

use crate::chunk::{self, ChunkRef, MAX_CHUNK};
use crate::index::At;
use crate::inner::Inner;
use crate::pack;
use crate::recipe::{Content, List, Recipe, read_list, within};
use crate::workshop::Workshop;

/// Bytes that are read, verified and handed out at a time.
const RUN_LEN: u64 = 1 << 20;

/// Runs that are in work ahead of the reader: enough for all cores and for a store behind a network.
const AHEAD: usize = 6;

/// Memory of a run: its last chunk begins before [`RUN_LEN`].
const RUN_MEMORY: usize = RUN_LEN as usize + MAX_CHUNK;

/// Bytes between two chunks that are read along with them, as that is cheaper than to read twice.
const GAP: u32 = 64 << 10;

/// A part of a chunk that is wanted.
#[derive(Debug, Clone)]
struct Part {
    chunk: ChunkRef,
    range: Range<u64>,
}

/// Chunks that lie near one another in a pack: places in a run, and where each lies.
struct Span {
    pack: Digest,
    range: Range<u32>,
    chunks: Vec<(usize, At)>,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ServeError>> + Send>>;

/// What content is taken out of the repository by.
pub(crate) fn workshop() -> Workshop {
    Workshop::new(RUN_MEMORY, AHEAD)
}

impl Inner {
    pub(crate) async fn serve(self: &Arc<Self>, request: Serve) -> Result<Served, ServeError> {
        let content = self.content(request.address)?;
        let size = content.size;
        let range = request.range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(ServeError::RangeOutside { size });
        }
        let wanted = range.end - range.start;
        let mut pieces = self.pieces(content, range);
        let body = match pieces.next().await {
            None => Body::Whole(Bytes::new()),
            Some(first) => {
                let first = first?;
                if first.len() as u64 == wanted {
                    Body::Whole(first)
                } else {
                    Body::Stream(Box::pin(stream::iter([Ok(first)]).chain(pieces)))
                }
            }
        };
        Ok(Served { size, body })
    }

    pub(crate) async fn verify_content(self: &Arc<Self>, request: Verify) -> Result<Verified, ServeError> {
        let content = self.content(request.address)?;
        let Content { address, size, .. } = *content;
        let mut pieces = self.pieces(content, 0..size);
        let mut hasher = blake3::Hasher::new();
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece?);
        }
        if hasher.finalize().as_bytes() != address.digest().as_bytes() {
            return Err(ServeError::Damaged { address, reason: "its chunks make other content".into() });
        }
        Ok(Verified { size })
    }

    fn content(&self, address: Address) -> Result<Arc<Content>, ServeError> {
        let state = self.state();
        let entry = state.contents.get(&address).ok_or(ServeError::Absent(address))?;
        Ok(Arc::clone(&entry.content))
    }

    /// A range of content, in order. An error ends it. The content's chunks stay as long as this lives.
    fn pieces(self: &Arc<Self>, content: Arc<Content>, range: Range<u64>) -> Pieces {
        let address = content.address;
        let inner = Arc::clone(self);
        let runs = stream::unfold(Some(Runs::new(Arc::clone(self), content, range)), |runs| async {
            let mut runs = runs?;
            match runs.next().await {
                Ok(Some(run)) => Some((Ok(run), Some(runs))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        let read = runs.map(move |run| {
            let inner = Arc::clone(&inner);
            async move { AbortOnDropHandle::new(tokio::spawn(async move { inner.read(address, run?).await })).await }
        });
        let pieces = read.buffered(AHEAD).map(|read| match read {
            Ok(read) => read,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(ServeError::Trouble(mainstay_dataplane::Trouble::unavailable("the process is ending"))),
            },
        });
        Box::pin(stream::unfold(Some(Box::pin(pieces)), |pieces| async {
            let mut pieces = pieces?;
            let piece = pieces.next().await?;
            let go_on = piece.is_ok();
            Some((piece, go_on.then_some(pieces)))
        }))
    }

    /// The chunks of a list that content has.
    pub(crate) async fn read_list(
        self: &Arc<Self>,
        address: Address,
        list: &List,
    ) -> Result<Vec<ChunkRef>, ServeError> {
        let part = Part { chunk: list.chunk, range: 0..u64::from(list.chunk.len) };
        let bytes = Arc::clone(self).read(address, vec![part]).await?;
        let damaged =
            || ServeError::Damaged { address, reason: format!("chunk {} is no list of chunks", list.chunk.id) };
        read_list(&bytes).ok_or_else(damaged)
    }

    async fn read(self: Arc<Self>, address: Address, parts: Vec<Part>) -> Result<Bytes, ServeError> {
        let mut sealed = self.fetch(address, &parts).await?;
        crate::blocking(move || {
            let len = parts.iter().map(|part| part.chunk.len as usize).sum();
            self.workshop.decompress(|decompressor| {
                self.workshop.fill(len, |out| {
                    let mut filled = 0;
                    for (part, (name, sealed)) in parts.iter().zip(&mut sealed) {
                        let whole = &mut out[filled..filled + part.chunk.len as usize];
                        chunk::open_into(&self.keys, decompressor, &part.chunk, sealed, whole).map_err(|why| {
                            self.state().suspect(part.chunk.id);
                            damaged(address, &part.chunk, name, &why.to_string())
                        })?;
                        let Range { start: from, end } = part.range.clone();
                        if from > 0 {
                            whole.copy_within(from as usize..end as usize, 0);
                        }
                        filled += (end - from) as usize;
                    }
                    Ok(filled)
                })
            })
        })
        .await
    }

    /// The sealed bytes of chunks. What is moved meanwhile is looked for once more.
    async fn fetch(&self, address: Address, parts: &[Part]) -> Result<Vec<(Digest, Vec<u8>)>, ServeError> {
        let mut found: Vec<Option<(Digest, Vec<u8>)>> = vec![None; parts.len()];
        for last in [false, true] {
            for span in self.spans(address, parts, &found)? {
                let range = u64::from(span.range.start)..u64::from(span.range.end);
                let read = self.files.read(&pack::path(&span.pack), Some(range)).await;
                let read = read.map_err(mainstay_dataplane::Trouble::from)?;
                if read.is_none() && !last {
                    continue;
                }
                if read.is_none() {
                    // What another process has moved is not damaged, and neither is what is not mounted.
                    self.look_again().await?;
                }
                for (place, at) in span.chunks {
                    let start = (at.offset - span.range.start) as usize;
                    let bytes = read.as_ref().and_then(|read| read.get(start..start + at.stored_len as usize));
                    let Some(bytes) = bytes else {
                        self.state().suspect(parts[place].chunk.id);
                        let why = if read.is_none() { "the pack is missing" } else { "the pack ends before it" };
                        return Err(damaged(address, &parts[place].chunk, &span.pack, why));
                    };
                    found[place] = Some((span.pack, bytes.to_vec()));
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Where what was not found yet is to be read.
    fn spans(
        &self,
        address: Address,
        parts: &[Part],
        found: &[Option<(Digest, Vec<u8>)>],
    ) -> Result<Vec<Span>, ServeError> {
        let state = self.state();
        let mut spans: Vec<Span> = Vec::new();
        for (place, part) in parts.iter().enumerate().filter(|(place, _)| found[*place].is_none()) {
            let id = part.chunk.id;
            let (pack, at) = state.locate(&id).ok_or_else(|| ServeError::Damaged {
                address,
                reason: format!("chunk {id} is in no pack that the index knows"),
            })?;
            let end = at.offset + at.stored_len;
            match spans.last_mut() {
                Some(span) if span.pack == pack && at.offset >= span.range.end && at.offset - span.range.end <= GAP => {
                    span.range.end = end;
                    span.chunks.push((place, at));
                }
                _ => spans.push(Span { pack, range: at.offset..end, chunks: vec![(place, at)] }),
            }
        }
        Ok(spans)
    }
}

fn damaged(address: Address, chunk: &ChunkRef, pack: &Digest, why: &str) -> ServeError {
    ServeError::Damaged { address, reason: format!("chunk {} in {}: {why}", chunk.id, pack::path(pack)) }
}

/// What of content is wanted, run by run; lists are read when it is their turn.
struct Runs {
    inner: Arc<Inner>,
    content: Arc<Content>,
    /// Lists that are still to be read, and what is wanted of each.
    lists: VecDeque<(List, Range<u64>)>,
    parts: VecDeque<Part>,
}

impl Runs {
    fn new(inner: Arc<Inner>, content: Arc<Content>, range: Range<u64>) -> Self {
        let (mut lists, mut parts) = (VecDeque::new(), VecDeque::new());
        match &content.recipe {
            Recipe::Direct(chunks) => parts = wanted(chunks, range),
            Recipe::Lists(all) => {
                let covered = within(all.iter().map(|list| list.covers), range);
                lists = covered.into_iter().map(|(place, range)| (all[place], range)).collect();
            }
        }
        Self { inner, content, lists, parts }
    }

    async fn next(&mut self) -> Result<Option<Vec<Part>>, ServeError> {
        while self.parts.is_empty() {
            let Some((list, range)) = self.lists.pop_front() else { return Ok(None) };
            let chunks = self.inner.read_list(self.content.address, &list).await?;
            self.parts = wanted(&chunks, range);
        }
        let mut run = Vec::new();
        let mut len = 0;
        while len < RUN_LEN
            && let Some(part) = self.parts.pop_front()
        {
            len += part.range.end - part.range.start;
            run.push(part);
        }
        Ok(Some(run))
    }
}

fn wanted(chunks: &[ChunkRef], range: Range<u64>) -> VecDeque<Part> {
    let found = within(chunks.iter().map(|chunk| u64::from(chunk.len)), range);
    found.into_iter().map(|(place, range)| Part { chunk: chunks[place], range }).collect()
}
