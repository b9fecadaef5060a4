//! Taking content in.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::{Digester, Digests, Encoder, Header, Pieces, Pipeline};
use mainstay_dataplane::{Address, Compression, Expect, Hints, IngestError, Measure, Receipt, Source, Trouble};
use tokio::sync::oneshot;

use crate::error::trouble;
use crate::pack::body_check;
use crate::store::{Store, blocking};
use crate::writer::{Body, Command, Keep, Kept, Packed, closed};

/// Bytes up to which content is digested on the caller's thread: some 60 microseconds, hardly more than it takes to hand
/// the work to another one.
const INLINE_UP_TO: usize = 64 << 10;

/// Small content, ready to be stored.
struct Prepared {
    digests: Digests,
    packed: Packed,
}

impl Store {
    pub(crate) async fn ingest(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let mut pieces = Pieces::new(source, self.pool.clone());
        let mut head = Vec::new();
        let mut len = 0;
        while let Some(piece) = pieces.next().await.map_err(IngestError::Source)? {
            len += piece.len();
            not_longer(len as u64, &hints.expect)?;
            head.push(piece);
            if len > self.config.small_up_to {
                return self.ingest_large(head, pieces, hints).await;
            }
        }
        self.ingest_small(head, len, hints).await
    }

    async fn ingest_small(&self, parts: Vec<Bytes>, len: usize, hints: Hints) -> Result<Receipt, IngestError> {
        let Hints { owner, key, .. } = &hints;
        let (owner, key) = (*owner, key.as_ref().map(|key| key.id));
        let md5 = hints.md5;
        let prepared = if len <= INLINE_UP_TO && hints.compression == Compression::None {
            prepare(parts, &hints)
        } else {
            blocking(move || prepare(parts, &hints)).await?
        };
        let Prepared { digests, packed } = prepared.map_err(IngestError::Mismatch)?;
        let address = digests.address();
        let (size, replace) = (digests.size(), self.damaged.contains(&address));
        let kept = self.kept(Keep { address, size, key, owner, body: Body::Packed(packed), replace }).await?;
        Ok(receipt(&digests, md5, size, &kept))
    }

    async fn ingest_large(&self, head: Vec<Bytes>, mut rest: Pieces, hints: Hints) -> Result<Receipt, IngestError> {
        let files = self.files.clone();
        let begun = blocking(move || files.begin()).await?;
        let incoming = begun.map_err(|error| trouble("store more content", &error))?;
        let encoder = Encoder::new(hints.compression, hints.key.as_ref());
        let mut pipeline = Pipeline::new(encoder, with_md5(&hints), incoming);
        let mut len = 0;
        let full = |error: std::io::Error| trouble("store more content", &error);
        for piece in head {
            len += piece.len() as u64;
            pipeline.push(piece).await.map_err(full)?;
        }
        while let Some(piece) = rest.next().await.map_err(IngestError::Source)? {
            len += piece.len() as u64;
            not_longer(len, &hints.expect)?;
            pipeline.push(piece).await.map_err(full)?;
        }
        let done = pipeline.finish().await.map_err(full)?;
        done.digests.meet(&hints.expect).map_err(IngestError::Mismatch)?;
        let Hints { owner, key, .. } = &hints;
        let (address, size) = (done.digests.address(), done.digests.size());
        let replace = self.damaged.contains(&address);
        let keep = |body| Keep { address, size, key: key.as_ref().map(|key| key.id), owner: *owner, body, replace };
        // What is there already need not be made durable.
        let kept = match self.keep(keep(Body::Nothing)).await? {
            Some(kept) => kept,
            None => {
                let files = self.files.clone();
                let published = blocking(move || files.publish(done.sink, &done.header)).await?;
                self.kept(keep(Body::File(published.map_err(full)?))).await?
            }
        };
        Ok(receipt(&done.digests, hints.md5, size, &kept))
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

/// Digests and encodes content that is all here.
fn prepare(parts: Vec<Bytes>, hints: &Hints) -> Result<Prepared, Measure> {
    let mut digester = Digester::new(with_md5(hints));
    parts.iter().for_each(|part| digester.update(part));
    let digests = digester.finish();
    digests.meet(&hints.expect)?;
    let mut encoder = Encoder::new(hints.compression, hints.key.as_ref());
    let form = encoder.form().clone();
    let mut stored: Vec<Bytes> = parts.into_iter().map(|part| encoder.update(part)).collect();
    let (last, table) = encoder.finish();
    stored.push(last);
    let header = Header::new(&digests, form, table);
    stored.insert(0, header.encode().into());
    let len = stored.iter().map(Bytes::len).sum::<usize>() as u32;
    let check = body_check(&stored);
    Ok(Prepared { digests, packed: Packed { parts: stored, len, check } })
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

fn receipt(digests: &Digests, md5: bool, size: u64, kept: &Kept) -> Receipt {
    Receipt {
        address: digests.address(),
        sha256: digests.sha256,
        md5: digests.md5.filter(|_| md5),
        size,
        claim: kept.claim,
        key: kept.key,
        known: kept.known,
    }
}
