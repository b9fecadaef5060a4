//! Bodies that are held in memory: XML and forms.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::StreamBody;
use hyper::HeaderMap;
use hyper::body::Frame;
use mainstay_bucket::{Checksum, ChecksumAlgorithm};
use md5::{Digest, Md5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::chunked::unhex;
use super::{BodyError, Digester, Measured, Paced, Slot};

/// What all bodies together may take.
#[derive(Clone)]
pub struct Room {
    /// Permits of 64 KiB.
    pages: Arc<Semaphore>,
    /// How many there are.
    size: usize,
}

const PAGE: usize = 64 << 10;
/// What a tag may become in memory once XML is read: the largest entry of a list is of some 200 bytes, and an empty one has
/// a single tag.
const TAG_BYTES: usize = 256;
/// Tags of one body: completing an upload of 10,000 parts with one checksum each takes 80,000.
const MOST_TAGS: usize = 100_000;

/// How much is held.
#[derive(Clone)]
pub struct HeldLimits {
    /// For the request's body, in bytes.
    pub bytes: usize,
    pub room: Room,
    /// What must be true of the body; none of a form, which is handed on while it comes.
    pub digests: Option<Digests>,
}

/// The digests that the head of a request tells of its body.
#[derive(Clone, Default)]
pub struct Digests {
    signed_sha256: Option<[u8; 32]>,
    md5: Option<[u8; 16]>,
    checksums: Vec<Checksum>,
}

// === impl Room ===

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        let size = (bytes / PAGE).max(1);
        Self { pages: Arc::new(Semaphore::new(size)), size }
    }

    /// Waits for room for so many bytes, or for all that there is.
    async fn reserve(self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let pages = bytes.div_ceil(PAGE).clamp(1, self.size);
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        // Nobody closes the semaphore.
        self.pages.acquire_many_owned(pages).await.map_err(|_| BodyError::Stalled)
    }
}

// === impl Digests ===

impl Digests {
    /// What the head tells. A checksum or MD5 that is none is an error of the request's.
    pub fn of(headers: &HeaderMap) -> Result<Self, Measured> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let md5 = match text("content-md5") {
            None => None,
            Some(value) => Some(md5_of_header(value).ok_or(Measured::Md5)?),
        };
        let mut checksums = Vec::new();
        for algorithm in ChecksumAlgorithm::ALL {
            if let Some(value) = text(algorithm.header()) {
                checksums.push(Checksum::parse(algorithm, value).map_err(|_| Measured::Checksum(algorithm))?);
            }
        }
        let signed_sha256 = text("x-amz-content-sha256").and_then(|digits| unhex(digits.as_bytes()));
        Ok(Self { signed_sha256, md5, checksums })
    }

    /// The same without checksums, which tell of something else in the head of a request that completes an upload.
    pub fn without_checksums(self) -> Self {
        Self { checksums: Vec::new(), ..self }
    }

    fn verify(&self, bytes: &[u8]) -> Result<(), BodyError> {
        if let Some(expected) = self.signed_sha256
            && aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref() != expected
        {
            return Err(BodyError::Mismatch(Measured::SignedSha256));
        }
        if let Some(expected) = self.md5
            && <[u8; 16]>::from(Md5::digest(bytes)) != expected
        {
            return Err(BodyError::Mismatch(Measured::Md5));
        }
        for expected in &self.checksums {
            let mut digester = Digester::new(expected.algorithm());
            digester.update(bytes);
            if digester.finish() != *expected {
                return Err(BodyError::Mismatch(Measured::Checksum(expected.algorithm())));
            }
        }
        Ok(())
    }
}

/// The digest that `Content-MD5` tells.
pub fn md5_of_header(value: &str) -> Option<[u8; 16]> {
    STANDARD.decode(value.trim()).ok()?.try_into().ok()
}

/// What s3s gets as the body of a request. It is read when s3s does, and not before.
pub fn held(slot: Slot, limits: HeldLimits) -> s3s::Body {
    let stream = stream::once(read(slot, limits)).try_flatten();
    s3s::Body::http_body_unsync(StreamBody::new(stream.map_ok(Frame::data)))
}

async fn read(slot: Slot, limits: HeldLimits) -> Result<BoxStream<'static, Result<Bytes, Failed>>, Failed> {
    let Some(body) = slot.take() else { return Ok(stream::empty().boxed()) };
    let failed = |error| {
        slot.fail(error);
        Failed
    };
    match limits.digests {
        Some(digests) => {
            let (bytes, permit) = collect(body, limits.bytes, limits.room, digests).await.map_err(failed)?;
            slot.keep(permit);
            Ok(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed())
        }
        None => {
            slot.keep(limits.room.reserve(limits.bytes).await.map_err(failed)?);
            let remembering = slot.clone();
            let bounded = bounded(body, limits.bytes).inspect_ok(move |bytes| remembering.remember(bytes));
            Ok(bounded
                .map_err(move |error| {
                    slot.fail(error);
                    Failed
                })
                .boxed())
        }
    }
}

/// The whole body, verified.
async fn collect(
    mut body: Paced,
    limit: usize,
    room: Room,
    digests: Digests,
) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
    // Little is let in at once; whatever is larger waits for the room that the largest may need.
    let mut permit = room.clone().reserve(PAGE).await?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if bytes.len() + piece.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if bytes.len() + piece.len() > PAGE && permit.num_permits() == 1 {
            // The one page is given back first, so that those who wait hold nothing that others wait for.
            drop(permit);
            permit = room.clone().reserve(limit).await?;
        }
        bytes.extend_from_slice(&piece);
    }
    let weight = weight(&bytes)?;
    if weight.div_ceil(PAGE) > permit.num_permits() {
        drop(permit);
        permit = room.reserve(weight).await?;
    }
    digests.verify(&bytes)?;
    Ok((bytes.freeze(), permit))
}

/// What XML takes in memory, itself and what is read of it.
fn weight(xml: &[u8]) -> Result<usize, BodyError> {
    match xml.iter().filter(|byte| **byte == b'<').count() {
        tags if tags > MOST_TAGS => Err(BodyError::TooManyTags { limit: MOST_TAGS }),
        tags => Ok(xml.len() + tags * TAG_BYTES),
    }
}

/// The body as it comes, up to a limit.
fn bounded(body: Paced, limit: usize) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    body.scan(limit, move |left, piece| {
        let piece = piece.and_then(|bytes| {
            *left = left.checked_sub(bytes.len()).ok_or(BodyError::TooLarge { limit })?;
            Ok(bytes)
        });
        std::future::ready(Some(piece))
    })
}

/// The slot tells why.
#[derive(Debug, thiserror::Error)]
#[error("the body was not taken")]
struct Failed;
