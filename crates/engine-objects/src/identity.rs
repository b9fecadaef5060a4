//! What tells this object store from every other: an object in it.
//!
//! Its record is in the index and its bytes are on the data plane, so that reading it says at once whether both are there,
//! belong together, and work.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use mainstay_bucket::{Conditions, ETag, LegalHold, Metadata, ObjectKey, Settings, Tags};
use mainstay_dataplane::{Body, Compression, Expect, ServeError};
use mainstay_engine::EngineError;
use mainstay_objects::{
    Attributes, CreatedBy, Error, Ingest, Limits, NewBucket, Objects, Put, ReadError, Refusal, Version,
};

use crate::{fault, names};

/// Reading a few bytes takes longer only where the data plane's storage does not answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an identity: 128 random bits in hexadecimal digits.
const LENGTH: u64 = 32;

/// The identity of the store that is open; none where it was never used.
pub(crate) async fn find(objects: &Objects) -> Result<Option<String>, EngineError> {
    let unanswered = |_| EngineError::transient("the object store's data plane does not answer");
    tokio::time::timeout(ANSWER_PATIENCE, read(objects)).await.map_err(unanswered)?
}

/// Makes the store one that is told from every other.
pub(crate) async fn make(objects: &Objects) -> Result<String, EngineError> {
    const WHAT: &str = "the object store could not be made";
    let (account, bucket) = (names::identity_account(), names::identity_bucket());
    objects.put_account(&account, Limits::default()).await.map_err(fault::of_index(WHAT))?;
    let new = NewBucket { name: bucket.clone(), account, settings: Settings::default() };
    match objects.create_bucket(new).await {
        // An earlier attempt was interrupted.
        Ok(_) | Err(Error::Refused(Refusal::BucketOwned)) => {}
        Err(error) => return Err(fault::of_index(WHAT)(error)),
    }
    let mut random = [0; LENGTH as usize / 2];
    getrandom::fill(&mut random).map_err(|error| EngineError::transient_from(WHAT, error))?;
    let identity: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = Bytes::from(identity.clone());
    let ingest = Ingest {
        source: Box::pin(futures::stream::iter([Ok(bytes)])),
        expect: Expect { size: Some(LENGTH), ..Expect::default() },
        md5: true,
        encrypt: false,
        compression: Compression::None,
    };
    let content = objects.ingest(&bucket, ingest).await.map_err(fault::of_ingest(WHAT))?;
    let attributes = Attributes {
        etag: ETag::md5(content.md5.map(|md5| md5.0).unwrap_or_default()),
        metadata: Metadata::default(),
        tags: Tags::default(),
        checksum: None,
        retention: None,
        legal_hold: LegalHold::Off,
        encrypted: false,
    };
    let put = Put { bucket, key: key(), content, attributes, conditions: Conditions::default(), by: CreatedBy::Put };
    objects.put(put).await.map_err(fault::of_index(WHAT))?;
    Ok(identity)
}

async fn read(objects: &Objects) -> Result<Option<String>, EngineError> {
    const WHAT: &str = "the object store's identity could not be read";
    let version = match objects.head(&names::identity_bucket(), &key(), None).await {
        Ok(version) => version,
        Err(Error::Refused(Refusal::NoSuchBucket | Refusal::NoSuchKey { .. })) => return Ok(None),
        Err(error) => return Err(fault::of_index(WHAT)(error)),
    };
    match bytes_of(objects, &version).await {
        Ok(bytes) => String::from_utf8(bytes.into()).map(Some).map_err(|_| foreign()),
        Err(ReadError::DataPlane(ServeError::Absent(_))) => Err(lost("its contents are gone from the data plane")),
        Err(ReadError::DataPlane(ServeError::Damaged { .. })) => Err(EngineError::permanent(
            "the object store's identity is damaged on the data plane",
            "look for other damage with `mainstay scrub`, and restore the data plane's storage",
        )),
        Err(error) => Err(EngineError::transient_from(WHAT, error)),
    }
}

async fn bytes_of(objects: &Objects, version: &Version) -> Result<Bytes, ReadError> {
    // However long somebody made the object: more than an identity is none.
    match objects.read(version, Some(0..version.size.min(LENGTH))).await? {
        Body::Whole(bytes) => Ok(bytes),
        Body::Stream(stream) => {
            let all = stream.try_fold(BytesMut::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            });
            Ok(all.await?.freeze())
        }
    }
}

/// The store is empty, or half of it is gone. What is left is not served as if nothing had happened.
pub(crate) fn lost(how: &str) -> EngineError {
    EngineError::permanent(
        format!("the data of the object store is lost: {how}; it is not initialised anew"),
        "mount or restore the storage of its index and of its data plane, or delete its instances",
    )
}

/// Another store than the one that was used before.
pub(crate) fn foreign() -> EngineError {
    EngineError::permanent(
        "the object store that is configured is another one than was used before",
        "set the storage of the index and of the data plane to what it was",
    )
}

fn key() -> ObjectKey {
    "identity".parse().expect("it is an object's key")
}
