//! Taking content in.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::{Digests, Encoder, Header, Pieces, Pipeline, Sink, digest, encode};
use mainstay_dataplane::{Address, Compression, Expect, Hints, IngestError, Measure, Receipt, Source, Trouble};
use tokio::sync::oneshot;

use crate::error::trouble;
use crate::files::{Files, Incoming};
use crate::pack::body_check;
use crate::store::{Store, blocking};
use crate::writer::{Body, Command, Keep, Kept, Packed, closed};

/// Bytes up to which content is digested on the caller's thread: some 60 microseconds, hardly more than it takes to hand
/// the work to another one.
const INLINE_UP_TO: usize = 64 << 10;

/// Where content comes to lie while nobody knows yet how much of it there is.
struct Landing {
    files: Files,
    /// How often it is written to at most while small content comes.
    writes_left: usize,
    place: Place,
}

enum Place {
    Memory(Vec<Bytes>),
    File(Incoming),
}

impl Store {
    pub(crate) async fn ingest(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let mut pieces = Pieces::new(source, self.pool.clone());
        let first = pieces.next().await.map_err(IngestError::Source)?.unwrap_or_default();
        not_longer(first.len() as u64, &hints.expect)?;
        self.disk.has_room()?;
        // What is shorter than a buffer is all there is.
        if first.len() <= INLINE_UP_TO && hints.compression == Compression::None {
            return self.ingest_at_once(first, hints).await;
        }
        self.ingest_stream(first, pieces, hints).await
    }

    async fn ingest_at_once(&self, content: Bytes, hints: Hints) -> Result<Receipt, IngestError> {
        let digests = digest(&content, with_md5(&hints));
        digests.meet(&hints.expect).map_err(IngestError::Mismatch)?;
        let (header, stored) = encode(Encoder::new(hints.compression, hints.key.as_ref()), &digests, content);
        let kept = self.kept(self.to_keep(&digests, &hints, Body::Packed(packed(&header, vec![stored])))).await?;
        Ok(receipt(&digests, hints.md5, &kept))
    }

    async fn ingest_stream(&self, first: Bytes, mut rest: Pieces, hints: Hints) -> Result<Receipt, IngestError> {
        let full = |error: std::io::Error| trouble("store more content", &error);
        let small_up_to = self.config.small_up_to;
        let encoder = Encoder::new(hints.compression, hints.key.as_ref());
        // Once for each piece, and once at the end.
        let landing = Landing::new(self.files.clone(), small_up_to.div_ceil(self.pool.buffer_len()) + 1);
        let mut pipeline = Pipeline::new(encoder, with_md5(&hints), landing);
        let (mut len, mut next) = (0, Some(first));
        while let Some(piece) = next {
            len += piece.len() as u64;
            not_longer(len, &hints.expect)?;
            pipeline.push(piece).await.map_err(full)?;
            next = rest.next().await.map_err(IngestError::Source)?;
            self.disk.has_room()?;
        }
        let done = pipeline.finish().await.map_err(full)?;
        done.digests.meet(&hints.expect).map_err(IngestError::Mismatch)?;
        let keep = |body| self.to_keep(&done.digests, &hints, body);
        let kept = match done.sink.place {
            Place::Memory(stored) if len <= small_up_to as u64 => {
                self.kept(keep(Body::Packed(packed(&done.header, stored)))).await?
            }
            place => match self.keep(keep(Body::Nothing)).await? {
                // What is there already need not be made durable.
                Some(kept) => kept,
                None => {
                    let (files, header) = (self.files.clone(), done.header);
                    let publish = move || files.publish(place.into_file(&files)?, &header);
                    let published = blocking(publish).await?;
                    self.kept(keep(Body::File(published.map_err(full)?))).await?
                }
            },
        };
        Ok(receipt(&done.digests, hints.md5, &kept))
    }

    fn to_keep(&self, digests: &Digests, hints: &Hints, body: Body) -> Keep {
        let (address, key) = (digests.address(), hints.key.as_ref().map(|key| key.id));
        let replace = self.damaged.contains(&address);
        Keep { address, size: digests.size(), key, owner: hints.owner, body, replace }
    }

    async fn kept(&self, keep: Keep) -> Result<Kept, Trouble> {
        let kept = self.keep(keep).await?;
        kept.ok_or_else(|| Trouble::unavailable("the content store has lost what it was given"))
    }

    async fn keep(&self, keep: Keep) -> Result<Option<Kept>, Trouble> {
        let (address, replace) = (keep.address, keep.replace);
        if replace && keep.key.is_none() {
            self.may_be_plain(address).await?;
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Keep(Box::new(keep), reply)).await?;
        let kept = answer.await.unwrap_or_else(|_| Err(closed()))?;
        if replace && kept.as_ref().is_some_and(|kept| !kept.known) {
            self.damaged.remove(&address);
        }
        Ok(kept)
    }

    /// Content that is damaged and was encrypted is replaced by nothing plain. Nor is it claimed: it is not there.
    async fn may_be_plain(&self, address: Address) -> Result<(), Trouble> {
        let index = Arc::clone(&self.index);
        let located = blocking(move || index.locate(&address)).await??;
        match located.and_then(|located| located.key) {
            None => Ok(()),
            Some(_) => Err(Trouble::unavailable(format!(
                "content {address} is damaged and was encrypted: delete it first, or store it encrypted again"
            ))),
        }
    }
}

impl Landing {
    fn new(files: Files, writes_left: usize) -> Self {
        Self { files, writes_left, place: Place::Memory(Vec::new()) }
    }
}

impl Sink for Landing {
    type Error = io::Error;

    fn write(&mut self, stored: Bytes) -> io::Result<()> {
        if let Place::Memory(parts) = &mut self.place
            && self.writes_left > 0
        {
            self.writes_left -= 1;
            parts.push(stored);
            return Ok(());
        }
        let place = std::mem::replace(&mut self.place, Place::Memory(Vec::new()));
        let mut file = place.into_file(&self.files)?;
        file.append(&stored)?;
        self.place = Place::File(file);
        Ok(())
    }
}

impl Place {
    fn into_file(self, files: &Files) -> io::Result<Incoming> {
        match self {
            Place::File(file) => Ok(file),
            Place::Memory(parts) => {
                let mut file = files.begin()?;
                parts.iter().try_for_each(|part| file.append(part))?;
                Ok(file)
            }
        }
    }
}

/// Content as it lies in a pack.
fn packed(header: &Header, stored: Vec<Bytes>) -> Packed {
    let parts: Vec<Bytes> = std::iter::once(header.encode().into()).chain(stored).collect();
    let len = parts.iter().map(Bytes::len).sum::<usize>() as u32;
    let check = body_check(&parts);
    Packed { parts, len, check }
}

fn with_md5(hints: &Hints) -> bool {
    hints.md5 || hints.expect.md5.is_some()
}

/// A stream that is longer than was said is not read to its end.
fn not_longer(len: u64, expect: &Expect) -> Result<(), IngestError> {
    match expect.size {
        Some(size) if len > size => Err(IngestError::Mismatch(Measure::Size)),
        _ => Ok(()),
    }
}

fn receipt(digests: &Digests, md5: bool, kept: &Kept) -> Receipt {
    Receipt {
        address: digests.address(),
        sha256: digests.sha256,
        md5: digests.md5.filter(|_| md5),
        size: digests.size(),
        claim: kept.claim,
        key: kept.key,
        known: kept.known,
    }
}
