//! Keeping a stream.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::{Digests, Encoder, Header, Kept, Pieces, Pipeline, digest, encode};
use mainstay_dataplane::{Hints, IngestError, Measure, Receipt, Source, Trouble};

use crate::failure::Failure;
use crate::plane::{Inner, PIECE_LEN};
use crate::publish::{Fresh, Published};
use crate::record::{Place, Record};
use crate::upload::{SEGMENT_LEN, ToUpload, Upload, UploadEnded, Uploaded};

/// The longest content that is hashed on the caller's thread: a tenth of a millisecond.
const HASHED_AT_ONCE: usize = 64 * 1024;

impl Inner {
    pub(crate) async fn ingest(self: &Arc<Self>, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let mut pieces = Pieces::new(source, self.pool.clone());
        let first = pieces.next().await.map_err(IngestError::Source)?.unwrap_or_default();
        if first.len() < PIECE_LEN {
            return self.ingest_within(first, hints).await;
        }
        match pieces.next().await.map_err(IngestError::Source)? {
            None => self.ingest_within(first, hints).await,
            Some(second) => self.ingest_apart(vec![first, second], pieces, hints).await,
        }
    }

    /// Content that fits into its record: one request publishes it.
    async fn ingest_within(&self, content: Bytes, hints: Hints) -> Result<Receipt, IngestError> {
        let Hints { owner, expect, md5, compression, key, cut: _ } = hints;
        let little = content.len() <= HASHED_AT_ONCE;
        let made = move || {
            let digests = digest(&content, md5 || expect.md5.is_some());
            digests.meet(&expect)?;
            let (header, stored) = encode(Encoder::new(compression, key.as_ref()), &digests, content);
            Ok((digests, header, stored))
        };
        let made: Result<_, Measure> = if little { made() } else { blocking(made).await };
        let (digests, header, stored) = made.map_err(IngestError::Mismatch)?;
        let within = Bytes::from([&header.encode(), &stored[..]].concat());
        let record = record_of(&header, Place::Within { len: within.len() as u32 });
        let published = self.publish(&Fresh { record, within }, owner).await.map_err(Trouble::from)?;
        if let Some(place) = &published.unneeded {
            self.remove_unneeded(place).await;
        }
        Ok(receipt(digests, md5, &published))
    }

    /// Content whose data is written before its address is known.
    async fn ingest_apart(
        self: &Arc<Self>,
        begun: Vec<Bytes>,
        rest: Pieces,
        hints: Hints,
    ) -> Result<Receipt, IngestError> {
        let mut upload = Upload::begin(self).await.map_err(Trouble::from)?;
        let (digests, header) = match fill(&mut upload, begun, rest, &hints).await {
            Ok(filled) => filled,
            Err(error) => {
                upload.give_up().await;
                return Err(error);
            }
        };
        let stored_len = header.stored_len();
        let encoded = header.encode();
        let header_len = encoded.len() as u32;
        let uploaded = upload.seal(digests.address(), encoded).await.map_err(Trouble::from)?;
        let data = uploaded.data();
        let place = Place::Apart { data, header_len, stored_len, segment_len: SEGMENT_LEN as u32 };
        let fresh = Fresh { record: record_of(&header, place.clone()), within: Bytes::new() };
        let published = self.publish_uploaded(&fresh, uploaded, &hints).await.map_err(Trouble::from)?;
        Ok(receipt(digests, hints.md5, &published))
    }

    async fn publish_uploaded(&self, fresh: &Fresh, uploaded: Uploaded, hints: &Hints) -> Result<Published, Failure> {
        let published = self.publish(fresh, hints.owner).await;
        let data = uploaded.data();
        drop(uploaded);
        match &published {
            Ok(published) => {
                if let Some(place) = &published.unneeded {
                    self.remove_unneeded(place).await;
                }
                if published.taken {
                    self.forget_intent(data).await;
                }
            }
            // The record may be there, or may yet come: whoever reclaims finds out.
            Err(Failure::Unavailable(_) | Failure::Unmet) => {}
            Err(_) => self.remove_unneeded(&fresh.record.place).await,
        }
        published
    }
}

/// Hashes and encodes a stream on other threads, while what came before is on its way to the store.
async fn fill(
    upload: &mut Upload,
    begun: Vec<Bytes>,
    mut rest: Pieces,
    hints: &Hints,
) -> Result<(Digests, Header), IngestError> {
    let expect = &hints.expect;
    let (sink, stored) = ToUpload::new();
    let encoder = Encoder::new(hints.compression, hints.key.as_ref());
    let mut pipeline = Pipeline::new(encoder, hints.md5 || expect.md5.is_some(), sink);
    let feed = async {
        let mut begun = begun.into_iter();
        let mut size = 0;
        loop {
            let piece = match begun.next() {
                Some(piece) => piece,
                None => match rest.next().await.map_err(IngestError::Source)? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            size += piece.len() as u64;
            if expect.size.is_some_and(|expected| size > expected) {
                return Err(IngestError::Mismatch(Measure::Size));
            }
            pipeline.push(piece).await?;
        }
        let Kept { digests, header, sink } = pipeline.finish().await?;
        // The end of what is uploaded.
        drop(sink);
        Ok((digests, header))
    };
    let take = async { Ok(upload.take(stored).await.map_err(Trouble::from)?) };
    let ((digests, header), ()) = tokio::try_join!(feed, take)?;
    digests.meet(expect).map_err(IngestError::Mismatch)?;
    Ok((digests, header))
}

fn record_of(header: &Header, place: Place) -> Record {
    Record::new(header.address(), header.size(), header.sha256(), header.key(), place)
}

fn receipt(digests: Digests, md5: bool, published: &Published) -> Receipt {
    Receipt {
        address: digests.address(),
        sha256: digests.sha256,
        md5: digests.md5.filter(|_| md5),
        size: digests.size(),
        claim: published.claim,
        key: published.key,
        known: published.known,
    }
}

/// On a thread that may be busy for long.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels such work, and it polls nothing to its end any more.
            Err(_) => std::future::pending().await,
        },
    }
}

impl From<UploadEnded> for IngestError {
    fn from(_: UploadEnded) -> Self {
        Self::Trouble(Trouble::unavailable("the upload has ended early"))
    }
}
