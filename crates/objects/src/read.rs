//! An object's bytes, on their way in and out.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use mainstay_bucket::BucketName;
use mainstay_dataplane::{Body, ContentKey, DataPlane, Hints, KeyId, Owner, Serve, ServeError, Verified, Verify};

use crate::error::{IngestError, ReadError, Refusal};
use crate::fetch;
use crate::inflight::{Expected, InFlight};
use crate::inner::Inner;
use crate::keys::Keys;
use crate::request::{Content, Ingest, Pieces};
use crate::version::{Contents, Manifest, Piece, Version};

/// While it lives, no content is given up that was referred to when it was made.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "that it is there is what counts")] InFlight);

impl Inner {
    pub async fn ingest(&self, bucket: &BucketName, ingest: Ingest) -> Result<Content, IngestError> {
        let directory = self.directory();
        let bucket = directory.bucket(bucket).ok_or(Refusal::NoSuchBucket)?;
        let encrypt = ingest.encrypt || bucket.settings.encryption.is_some();
        let mut in_flight = self.in_flight.begin(self.now(), Expected::Coming(ingest.expect.size));
        let key = if encrypt { Some(self.keys.newest().await?) } else { None };
        let hints = Hints {
            expect: ingest.expect,
            md5: ingest.md5,
            compression: ingest.compression,
            key,
            ..Hints::plain(Owner::Objects)
        };
        let receipt = self.plane.ingest_stream(ingest.source, hints).await?;
        in_flight.came(receipt.address, receipt.size, receipt.claim);
        let piece = Piece { address: receipt.address, size: receipt.size, key: receipt.key };
        Ok(Content {
            size: receipt.size,
            sha256: Some(receipt.sha256),
            md5: receipt.md5,
            encrypted: encrypt,
            pieces: Pieces::Fresh(piece, receipt.claim),
            in_flight,
        })
    }

    pub async fn content_of(&self, version: &Version) -> Result<Content, ReadError> {
        let in_flight = self.in_flight.begin(self.now(), Expected::Known);
        let manifest = match &version.content {
            Contents::One(piece) => Arc::new(Manifest { parts: Vec::new(), pieces: vec![piece.clone()] }),
            Contents::Many { manifest, .. } => self.manifest(*manifest).await?,
        };
        Ok(Content {
            size: version.size,
            sha256: None,
            md5: None,
            encrypted: version.attributes.encrypted,
            pieces: Pieces::Known(manifest),
            in_flight,
        })
    }

    /// Keeps all content from being given up that is referred to now.
    pub fn hold(&self) -> Hold {
        Hold(self.in_flight.begin(self.now(), Expected::Known))
    }

    /// Content that is there already, for another version that is made of it; none where it is not there whole.
    pub async fn content_at_hand(&self, piece: &Piece) -> Result<Option<Content>, ReadError> {
        let in_flight = self.in_flight.begin(self.now(), Expected::Known);
        if fetch::known(&self.store, &[piece.address]).await?.is_empty() {
            return Ok(None);
        }
        match self.verify(piece).await {
            Ok(_) => {}
            // It is taken in anew then, with a key that is known.
            Err(ReadError::DataPlane(ServeError::Absent(_) | ServeError::Damaged { .. }) | ReadError::Keys(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let manifest = Manifest { parts: Vec::new(), pieces: vec![piece.clone()] };
        let pieces = Pieces::Known(Arc::new(manifest));
        Ok(Some(Content {
            size: piece.size,
            sha256: None,
            md5: None,
            encrypted: piece.key.is_some(),
            pieces,
            in_flight,
        }))
    }

    pub async fn read_piece(&self, piece: &Piece) -> Result<Body, ReadError> {
        serve(&self.plane, &self.keys, piece, 0..piece.size).await
    }

    /// A manifest, which is there as long as its version is.
    pub async fn manifest(&self, id: u64) -> Result<Arc<Manifest>, ReadError> {
        Ok(fetch::manifest(&self.store, id).await?.ok_or(Refusal::NoSuchKey { marker: None })?)
    }

    pub async fn read(&self, version: &Version, range: Option<Range<u64>>) -> Result<Body, ReadError> {
        let range = range.unwrap_or(0..version.size);
        if range.start > range.end || range.end > version.size {
            return Err(ServeError::RangeOutside { size: version.size }.into());
        }
        match &version.content {
            Contents::One(piece) => Ok(serve(&self.plane, &self.keys, piece, range).await?),
            Contents::Many { manifest, .. } => {
                let manifest = self.manifest(*manifest).await?;
                self.read_pieces(&manifest, range).await
            }
        }
    }

    /// Pieces one after the other. The first is served before this returns, so that what cannot be read is told in time.
    async fn read_pieces(&self, manifest: &Manifest, range: Range<u64>) -> Result<Body, ReadError> {
        let mut wanted = within(&manifest.pieces, range).into_iter();
        let Some((piece, range)) = wanted.next() else { return Ok(Body::Whole(Default::default())) };
        let first = serve(&self.plane, &self.keys, &piece, range).await?;
        if wanted.len() == 0 {
            return Ok(first);
        }
        let (plane, keys) = (self.plane.clone(), self.keys.clone());
        let rest = stream::iter(wanted)
            .then(move |(piece, range)| {
                let (plane, keys) = (plane.clone(), keys.clone());
                async move { serve(&plane, &keys, &piece, range).await.map(flat).map_err(into_stream_error) }
            })
            .try_flatten();
        Ok(Body::Stream(Box::pin(flat(first).chain(rest))))
    }

    /// Whether a content is whole. Content can have been encrypted since its row was written.
    pub async fn verify(&self, piece: &Piece) -> Result<Verified, ReadError> {
        let mut key = key_of(&self.keys, piece.key).await?;
        loop {
            let needed = match self.plane.verify_object(Verify { address: piece.address, key: key.clone() }).await {
                Err(ServeError::KeyNeeded(id)) if key.as_ref().is_none_or(|key| key.id != id) => id,
                result => return Ok(result?),
            };
            key = Some(self.keys.get(needed).await?);
        }
    }
}

async fn serve(
    plane: &Arc<dyn DataPlane>,
    keys: &Arc<dyn Keys>,
    piece: &Piece,
    range: Range<u64>,
) -> Result<Body, ReadError> {
    let range = (range != (0..piece.size)).then_some(range);
    let mut key = key_of(keys, piece.key).await?;
    loop {
        let request = Serve { address: piece.address, range: range.clone(), key: key.clone() };
        let needed = match plane.serve_object(request).await {
            // It was encrypted since, or with another key than when this version came.
            Err(ServeError::KeyNeeded(id)) if key.as_ref().is_none_or(|key| key.id != id) => id,
            result => return Ok(result?.body),
        };
        key = Some(keys.get(needed).await?);
    }
}

async fn key_of(keys: &Arc<dyn Keys>, id: Option<KeyId>) -> Result<Option<ContentKey>, ReadError> {
    match id {
        Some(id) => Ok(Some(keys.get(id).await?)),
        None => Ok(None),
    }
}

/// The ranges of pieces that a range of the whole lies in.
fn within(pieces: &[Piece], range: Range<u64>) -> Vec<(Piece, Range<u64>)> {
    let mut begins = 0;
    let mut wanted = Vec::new();
    for piece in pieces {
        let ends = begins + piece.size;
        let (start, end) = (range.start.max(begins), range.end.min(ends));
        if start < end {
            wanted.push((piece.clone(), start - begins..end - begins));
        }
        begins = ends;
    }
    wanted
}

fn flat(body: Body) -> mainstay_dataplane::ByteStream {
    match body {
        Body::Whole(bytes) => Box::pin(stream::once(async move { Ok(bytes) })),
        Body::Stream(stream) => stream,
    }
}

/// Within a stream there is one kind of error; what else goes wrong behind the first piece is trouble that may pass.
fn into_stream_error(error: ReadError) -> ServeError {
    match error {
        ReadError::DataPlane(error) => error,
        other => ServeError::Trouble(mainstay_dataplane::Trouble::unavailable(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_dataplane::Address;

    use super::within;
    use crate::version::Piece;

    #[test]
    fn a_range_lies_in_some_pieces() {
        let pieces: Vec<_> =
            [3, 0, 4, 2].map(|size| Piece { address: Address::of(&[size as u8]), size, key: None }).into();
        let check = |range, expected: &[(u64, std::ops::Range<u64>)]| {
            let found: Vec<_> = within(&pieces, range).into_iter().map(|(piece, range)| (piece.size, range)).collect();
            assert_eq!(found, expected);
        };
        check(0..9, &[(3, 0..3), (4, 0..4), (2, 0..2)]);
        check(2..4, &[(3, 2..3), (4, 0..1)]);
        check(3..7, &[(4, 0..4)]);
        check(8..9, &[(2, 1..2)]);
        check(5..5, &[]);
    }
}
