//! Keeping objects.

use std::num::NonZeroU32;

use hyper::HeaderMap;
use mainstay_bucket::conditions::Conditions;
use mainstay_bucket::{Checksum, ChecksumAlgorithm, ETag, ObjectKey};
use mainstay_dataplane::{Compression, Expect, Md5, Source};
use mainstay_objects::{Attributes, Bucket, Content, CreatedBy, Ingest, Put, Refusal, Target};
use s3s::dto::{ETagCondition, PutObjectInput, PutObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response};
use secrecy::zeroize::Zeroizing;

use super::get::{existing, expiration};
use super::{Answer, Api, bucket_of, encryption_told, key_of, payer, version_told};
use crate::arrival::Arrival;
use crate::body::{BodyError, Framing, Measured, Received, Upload, Wanted, WantedChecksum, md5_of_header};
use crate::error::{Failure, Result};
use crate::map::{self, tell_checksum, told_checksums};
use crate::memory::weight_of_upload;

/// The most bytes of one request's object or part, as in Amazon S3. What is larger comes in parts.
const LARGEST: u64 = 5 << 30;
/// From this size on an object's ETag is no MD5 where the client has sent a checksum of its own: MD5 takes longer than
/// everything else that is done with the bytes. Below it, MD5 takes less than a request does otherwise.
const MD5_UP_TO: u64 = 8 << 20;

pub async fn put_object(api: &Api, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let key = key_of(&input.key)?;
    let metadata = map::metadata(input)?;
    let tags = map::header_tags(input.tagging.as_deref())?;
    let mode = input.object_lock_mode.as_ref().map(|mode| mode.as_str());
    let retention = map::retention(mode, input.object_lock_retain_until_date.as_ref())?;
    let legal_hold = map::legal_hold(input.object_lock_legal_hold_status.as_ref())?;
    let locks = input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
    if locks && bucket.settings.lock.is_none() {
        return Err(Refusal::NoLock.into());
    }
    let conditions = write_conditions(&request.headers)?;
    check_early(api, &bucket, &key, &conditions).await?;
    let told = map::told_checksum(told_checksums!(input))?;
    let target = Target::Object { bucket: &bucket.name, key: &key };
    let default = Some(ChecksumAlgorithm::Crc64Nvme);
    let arriving = Arriving { target, told, default, encrypt: encrypts(&request.headers) };
    let arrived = receive(api, &request, &bucket, arriving).await?;

    let attributes = Attributes {
        etag: arrived.etag,
        metadata,
        tags,
        checksum: arrived.checksum.clone(),
        retention,
        legal_hold,
        encrypted: arrived.content.encrypted,
    };
    let put = Put {
        bucket: bucket.name.clone(),
        key: key.clone(),
        content: arrived.content,
        attributes,
        conditions,
        by: CreatedBy::Put,
    };
    let version = api.objects.put(put).await?;
    let mut output = PutObjectOutput {
        e_tag: Some(map::etag(&version.attributes.etag)),
        server_side_encryption: encryption_told(version.attributes.encrypted),
        version_id: version_told(&bucket, &version.id),
        expiration: expiration(&bucket, &key, &version),
        checksum_type: map::checksum_kind(arrived.checksum.as_ref()),
        ..PutObjectOutput::default()
    };
    tell_checksum!(output, arrived.checksum.as_ref());
    Ok(S3Response::new(output))
}

/// What a write demands of what is there: entity tags only.
pub(super) fn write_conditions(headers: &HeaderMap) -> Result<Conditions> {
    for name in ["if-modified-since", "if-unmodified-since"] {
        if headers.contains_key(name) {
            return Err(Failure::not_implemented(name));
        }
    }
    let conditions = map::tag_conditions(headers);
    let none_of_some = matches!(&conditions.if_none_match, Some(mainstay_bucket::conditions::EntityTags::Of(_)));
    if none_of_some {
        return Err(Failure::not_implemented("If-None-Match with an ETag; use *"));
    }
    Ok(conditions)
}

/// The same of a form's fields.
pub(super) fn form_conditions(if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> Conditions {
    Conditions { if_match: map::tags_of(if_match), if_none_match: map::tags_of(if_none_match), ..Conditions::default() }
}

/// Looks whether conditions hold before the body is sent for nothing. Whether they do in the end the index decides.
pub(super) async fn check_early(api: &Api, bucket: &Bucket, key: &ObjectKey, conditions: &Conditions) -> Result<()> {
    if conditions.is_empty() {
        return Ok(());
    }
    let current = api.objects.head(&bucket.name, key, None).await.ok();
    let current = current.as_deref().map(existing);
    conditions.check_write(current.as_ref()).map_err(Refusal::from)?;
    Ok(())
}

/// Whether the request asks for encryption at rest; other kinds of it were refused before.
pub(super) fn encrypts(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amz-server-side-encryption")
}

/// What is known of a body that is going to be received.
pub(super) struct Arriving<'a> {
    pub target: Target<'a>,
    /// The checksum that the head tells.
    pub told: Option<Checksum>,
    /// What is computed where the client has none.
    pub default: Option<ChecksumAlgorithm>,
    pub encrypt: bool,
}

/// A body that was received.
pub(super) struct Arrived {
    pub content: Content,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// Receives the body of a request: of an object, or of a part.
pub(super) async fn receive<T>(
    api: &Api,
    request: &S3Request<T>,
    bucket: &Bucket,
    arriving: Arriving<'_>,
) -> Result<Arrived> {
    let headers = &request.headers;
    let secret =
        request.credentials.as_ref().map(|credentials| Zeroizing::new(credentials.secret_key.expose().to_owned()));
    let framing = Framing::of(headers, secret.as_ref().map(|secret| secret.as_str()));
    let framing =
        framing.ok_or_else(|| Failure::invalid_request("The body's chunks must be signed as the request is"))?;
    let size = declared_size(headers, &framing)?;
    let signed = match &framing {
        Framing::Plain { sha256 } => *sha256,
        Framing::Chunked(_) => None,
    };
    let md5 = match headers.get("content-md5") {
        None => None,
        Some(value) => {
            let digest = md5_of_header(value.to_str().unwrap_or_default());
            Some(Md5(digest.ok_or(Measured::Md5)?))
        }
    };
    let wanted = wanted_checksum(headers, &arriving)?;
    // The data plane computes SHA-256 in any case.
    let told_sha256 = match &wanted {
        WantedChecksum::Told(told) if told.algorithm() == ChecksumAlgorithm::Sha256 => {
            let value = <[u8; 32]>::try_from(told.value()).ok().map(mainstay_dataplane::Sha256);
            if signed.is_some() && signed != value {
                return Err(BodyError::Mismatch(Measured::Checksum(ChecksumAlgorithm::Sha256)).into());
            }
            value
        }
        _ => None,
    };
    let is_own = matches!(wanted, WantedChecksum::Told(_) | WantedChecksum::Trailer(_));
    let wants_md5 = !(is_own && size >= MD5_UP_TO && md5.is_none());
    let computed = if told_sha256.is_some() { WantedChecksum::None } else { wanted };

    // Before the body is sent for nothing.
    api.objects.check_quota(arriving.target, size).await?;
    let _reserved = api.uploads.reserve(payer(request, bucket)?, weight_of_upload(size)).await?;
    let (source, received) = source(request, framing, Wanted { size, checksum: computed })?;
    let ingest = Ingest {
        source,
        expect: Expect { size: Some(size), sha256: signed.or(told_sha256), md5 },
        md5: wants_md5,
        encrypt: arriving.encrypt,
        compression: Compression::None,
    };
    let content = api.objects.ingest(&bucket.name, ingest).await.map_err(|error| {
        use mainstay_dataplane::{IngestError, Measure};
        match error {
            mainstay_objects::IngestError::DataPlane(IngestError::Mismatch(Measure::Sha256)) if signed.is_none() => {
                BodyError::Mismatch(Measured::Checksum(ChecksumAlgorithm::Sha256)).into()
            }
            error => Failure::from(error),
        }
    })?;
    let checksum = match told_sha256 {
        Some(_) => arriving.told,
        None => received.get().cloned(),
    };
    let etag = etag_of(&content)?;
    Ok(Arrived { content, etag, checksum })
}

/// The ETag of content: its MD5, where that was computed; otherwise what looks like the ETag of one part, so that nobody
/// takes it for an MD5.
pub(super) fn etag_of(content: &Content) -> Result<ETag> {
    match (content.md5, content.sha256) {
        (Some(md5), _) => Ok(ETag::md5(md5.0)),
        (None, Some(sha256)) => {
            let mut digest = [0; 16];
            digest.copy_from_slice(&sha256.0[..16]);
            Ok(ETag::composite(digest, NonZeroU32::MIN))
        }
        (None, None) => Err(S3ErrorCode::InternalError.into()),
    }
}

/// The body's stream, with the checksum that it turns out to have.
fn source<T>(request: &S3Request<T>, framing: Framing, wanted: Wanted) -> Result<(Source, Received)> {
    let arrival: Option<&Arrival> = request.extensions.get();
    match arrival.and_then(|arrival| arrival.body.as_ref()).and_then(|slot| slot.take()) {
        Some(body) => {
            let (upload, received) = Upload::new(body, framing, wanted);
            Ok((Box::pin(upload), received))
        }
        // There is no body at all.
        None if wanted.size == 0 => {
            let (upload, received) = Upload::empty(wanted);
            Ok((Box::pin(upload), received))
        }
        None => Err(BodyError::Incomplete.into()),
    }
}

/// How many bytes the object is going to have.
fn declared_size(headers: &HeaderMap, framing: &Framing) -> Result<u64> {
    let number = |name: &str| headers.get(name).map(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let declared = match framing {
        Framing::Chunked(_) => number("x-amz-decoded-content-length"),
        Framing::Plain { .. } => number("content-length"),
    };
    let missing =
        || Failure::new(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header.");
    let invalid = || Failure::invalid_argument("The length of the body is no number");
    let size = declared.ok_or_else(missing)?.ok_or_else(invalid)?;
    if size > LARGEST {
        let message = "Your proposed upload exceeds the maximum allowed size; put it in parts";
        return Err(Failure::new(S3ErrorCode::EntityTooLarge, message));
    }
    Ok(size)
}

/// The checksum that the body is to have: told by a header, told by a trailer, or computed.
fn wanted_checksum(headers: &HeaderMap, arriving: &Arriving<'_>) -> Result<WantedChecksum> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let announced = text("x-amz-sdk-checksum-algorithm").or(text("x-amz-checksum-algorithm"));
    let announced = announced.map(str::parse::<ChecksumAlgorithm>).transpose()?;
    if let Some(told) = &arriving.told {
        if announced.is_some_and(|announced| announced != told.algorithm()) {
            let message = "Value for x-amz-sdk-checksum-algorithm header is invalid.";
            return Err(Failure::invalid_request(message));
        }
        return Ok(WantedChecksum::Told(told.clone()));
    }
    if let Some(trailer) = text("x-amz-trailer") {
        let named = |algorithm: &ChecksumAlgorithm| trailer.trim().eq_ignore_ascii_case(algorithm.header());
        let algorithm = ChecksumAlgorithm::ALL.into_iter().find(named);
        let message = "The value specified in the x-amz-trailer header is not supported";
        return algorithm.map(WantedChecksum::Trailer).ok_or_else(|| Failure::invalid_request(message));
    }
    if announced.is_some() {
        let message = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                       headers were found.";
        return Err(Failure::invalid_request(message));
    }
    Ok(arriving.default.map_or(WantedChecksum::None, WantedChecksum::Computed))
}
