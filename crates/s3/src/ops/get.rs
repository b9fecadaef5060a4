//! Reading objects, and what is known of them.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use hyper::HeaderMap;
use hyper::header::IF_RANGE;
use hyper::http::{HeaderName, HeaderValue};
use mainstay_bucket::conditions::{Conditions, Existing, Read};
use mainstay_bucket::lifecycle::{Candidate, State};
use mainstay_bucket::{LegalHold, ObjectKey};
use mainstay_dataplane::{Body, ByteStream};
use mainstay_objects::{Bucket, Contents, Manifest, Version};
use s3s::dto::{
    self, Checksum, ChecksumMode, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectAttributes, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectPart, StorageClass, StreamingBlob,
};
use s3s::stream::RemainingLength;
use s3s::{S3ErrorCode, S3Request, S3Response, StdError};

use super::list::Encoding;
use super::{Answer, Api, bucket_of, encryption_told, key_of, payer, version_of, version_told};
use crate::access::{Caller, Known};
use crate::error::{Failure, Result};
use crate::map::{self, tell_checksum, tell_metadata};
use crate::memory::{Reserved, weight_of_download};

/// The most parts that one page of attributes tells, as in Amazon S3.
const MOST_PARTS: i32 = 1000;

pub async fn get_object(api: &Api, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    check_overrides(&request)?;
    let found = find(api, &request).await?;
    let length = found.length();
    let body = match length {
        0 => None,
        _ => {
            let reserved = api.downloads.reserve(payer(&request, &found.bucket)?, weight_of_download(length)).await?;
            Some((api.objects.read(&found.version, found.range.clone()).await?, reserved))
        }
    };

    let mut output = GetObjectOutput::default();
    describe(&mut output, &found, request.input.checksum_mode.as_ref());
    output.content_length = Some(map::size(length));
    output.parts_count = found.parts;
    output.tag_count = i32::try_from(found.version.attributes.tags.len()).ok().filter(|count| *count > 0);
    output.body = Some(match body {
        None => StreamingBlob::from(s3s::Body::from(Bytes::new())),
        Some((body, reserved)) => blob(body, reserved, length, found.key),
    });
    Ok(S3Response::new(output))
}

pub async fn head_object(api: &Api, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
    let found = find(api, &request).await?;
    let mut output = HeadObjectOutput::default();
    describe(&mut output, &found, request.input.checksum_mode.as_ref());
    output.content_length = Some(map::size(found.length()));
    output.parts_count = found.parts;
    let tags = &found.version.attributes.tags;
    let mut response = S3Response::new(output);
    if let Ok(count) = HeaderValue::from_str(&tags.len().to_string())
        && !tags.is_empty()
    {
        // s3s has no field for it in the answer to HEAD.
        response.headers.insert(HeaderName::from_static("x-amz-tagging-count"), count);
    }
    Ok(response)
}

/// What a read names, whether it wants the bytes or what is known of them.
struct Reading<'a> {
    key: &'a str,
    version_id: Option<&'a str>,
    if_modified_since: Option<&'a dto::Timestamp>,
    if_unmodified_since: Option<&'a dto::Timestamp>,
    part_number: Option<i32>,
    range: Option<&'a dto::Range>,
}

trait Reads {
    fn reading(&self) -> Reading<'_>;
}

macro_rules! reads {
    ($($input:ty),*) => {
        $(impl Reads for $input {
            fn reading(&self) -> Reading<'_> {
                Reading {
                    key: &self.key,
                    version_id: self.version_id.as_deref(),
                    if_modified_since: self.if_modified_since.as_ref(),
                    if_unmodified_since: self.if_unmodified_since.as_ref(),
                    part_number: self.part_number,
                    range: self.range.as_ref(),
                }
            }
        })*
    };
}

reads!(GetObjectInput, HeadObjectInput);

/// What a read is about, once its conditions hold.
struct Found {
    bucket: Arc<Bucket>,
    key: ObjectKey,
    version: Arc<Version>,
    /// The bytes that are asked for; none where that is all of them.
    range: Option<Range<u64>>,
    /// How many parts there are, where one of them is asked for.
    parts: Option<i32>,
}

impl Found {
    /// How many bytes are asked for.
    fn length(&self) -> u64 {
        self.range.as_ref().map_or(self.version.size, |range| range.end - range.start)
    }
}

async fn find<T: Reads>(api: &Api, request: &S3Request<T>) -> Result<Found> {
    let reading = request.input.reading();
    let bucket = bucket_of(request)?;
    let key = key_of(reading.key)?;
    let id = version_of(reading.version_id)?;
    let version = api.objects.head(&bucket.name, &key, id.as_ref()).await?;
    let conditions = map::read_conditions(&request.headers, reading.if_modified_since, reading.if_unmodified_since)?;
    check(&conditions, &version, &bucket)?;
    let part = part_of(api, &version, reading.part_number).await?;
    let range = reading.range.filter(|_| is_unchanged(&request.headers, &version));
    let range = asked_range(range, part.as_ref(), version.size)?;
    Ok(Found { bucket, key, version, range, parts: part.map(|part| part.count) })
}

/// Headers that the request wants instead of the object's own, which nobody but whoever signs may ask for.
fn check_overrides(request: &S3Request<GetObjectInput>) -> Result<()> {
    let input = &request.input;
    let asked = input.response_cache_control.is_some()
        || input.response_content_disposition.is_some()
        || input.response_content_encoding.is_some()
        || input.response_content_language.is_some()
        || input.response_content_type.is_some()
        || input.response_expires.is_some();
    if asked && Known::of(request)?.caller == Caller::Anonymous {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        return Err(Failure::invalid_request(message));
    }
    Ok(())
}

/// The object that a condition is asked of.
pub(super) fn existing(version: &Version) -> Existing {
    Existing { etag: version.attributes.etag, modified: version.modified_at, size: version.size }
}

fn check(conditions: &Conditions, version: &Version, bucket: &Bucket) -> Result<()> {
    if conditions.is_empty() {
        return Ok(());
    }
    match conditions.check_read(&existing(version)) {
        Read::Serve => Ok(()),
        Read::Failed => Err(Failure::precondition_failed()),
        Read::NotModified => Err(Failure::not_modified(unchanged(version, bucket))),
    }
}

/// What an answer without a body tells of the object that the client has (RFC 9110, section 15.4.5).
fn unchanged(version: &Version, bucket: &Bucket) -> HeaderMap {
    let metadata = &version.attributes.metadata;
    let texts = [
        ("etag", Some(version.attributes.etag.quoted())),
        ("last-modified", map::http_date(&map::timestamp(version.modified_at)).ok()),
        ("cache-control", metadata.cache_control.as_ref().map(ToString::to_string)),
        ("expires", metadata.expires.as_ref().map(ToString::to_string)),
        ("x-amz-version-id", version_told(bucket, &version.id)),
    ];
    let header = |(name, text): (&'static str, Option<String>)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&text?).ok()?))
    };
    texts.into_iter().filter_map(header).collect()
}

/// Whether the object is still the one that `If-Range` names, where the request has it: a client goes on with what it has
/// begun, and gets the whole where that has changed (RFC 9110, section 13.1.5).
fn is_unchanged(headers: &HeaderMap, version: &Version) -> bool {
    let Some(validator) = headers.get(IF_RANGE) else { return true };
    let date = map::http_date(&map::timestamp(version.modified_at)).unwrap_or_default();
    validator == version.attributes.etag.quoted().as_str() || validator == date.as_str()
}

/// A part of an object that was put in parts.
struct PartOf {
    range: Range<u64>,
    count: i32,
}

async fn part_of(api: &Api, version: &Version, number: Option<i32>) -> Result<Option<PartOf>> {
    let Some(number) = number else { return Ok(None) };
    let no_such = || {
        let message = "The requested partnumber is not satisfiable";
        Failure::new(S3ErrorCode::InvalidPart, message)
    };
    if !(1..=10_000).contains(&number) {
        return Err(Failure::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"));
    }
    let Some(manifest) = api.objects.manifest(version).await? else {
        let whole = PartOf { range: 0..version.size, count: 1 };
        return if number == 1 { Ok(Some(whole)) } else { Err(no_such()) };
    };
    let at = usize::try_from(number - 1).unwrap_or_default();
    let part = manifest.parts.get(at).ok_or_else(no_such)?;
    let start = manifest.parts[..at].iter().map(|part| part.size).sum();
    let count = i32::try_from(manifest.parts.len()).unwrap_or(i32::MAX);
    Ok(Some(PartOf { range: start..start + part.size, count }))
}

/// The bytes that are asked for; none where that is all of them.
fn asked_range(range: Option<&dto::Range>, part: Option<&PartOf>, size: u64) -> Result<Option<Range<u64>>> {
    match (range, part) {
        (Some(_), Some(_)) => {
            Err(Failure::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => range.check(size).map(Some).map_err(|_| Failure::range_not_satisfiable(size)),
        // Where there are no parts, or an empty one, the whole is no range.
        (None, Some(part)) => Ok(Some(part.range.clone()).filter(|range| !range.is_empty())),
        (None, None) => Ok(None),
    }
}

/// Answers that tell of an object: with its bytes, and without.
trait Describe {
    fn tell(&mut self, version: &Version);
    fn place(&mut self, range: Option<String>, id: Option<String>, expiration: Option<String>);
    fn prove(&mut self, checksum: &mainstay_bucket::Checksum);
}

macro_rules! describe_in {
    ($($output:ty),*) => {
        $(impl Describe for $output {
            fn tell(&mut self, version: &Version) {
                let attributes = &version.attributes;
                tell_metadata!(self, &attributes.metadata);
                self.accept_ranges = Some("bytes".to_owned());
                self.e_tag = Some(map::etag(&attributes.etag));
                self.last_modified = Some(map::timestamp(version.modified_at));
                self.server_side_encryption = encryption_told(attributes.encrypted);
                if let Some(retention) = &attributes.retention {
                    self.object_lock_mode = Some(ObjectLockMode::from_static(retention.mode.as_str()));
                    self.object_lock_retain_until_date = Some(map::timestamp(retention.until));
                }
                if attributes.legal_hold == LegalHold::On {
                    let on = ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON);
                    self.object_lock_legal_hold_status = Some(on);
                }
            }

            fn place(&mut self, range: Option<String>, id: Option<String>, expiration: Option<String>) {
                self.content_range = range;
                self.version_id = id;
                self.expiration = expiration;
            }

            fn prove(&mut self, checksum: &mainstay_bucket::Checksum) {
                tell_checksum!(self, Some(checksum));
                self.checksum_type = map::checksum_kind(Some(checksum));
            }
        })*
    };
}

describe_in!(GetObjectOutput, HeadObjectOutput);

fn describe(output: &mut impl Describe, found: &Found, checksum_mode: Option<&ChecksumMode>) {
    let Found { bucket, key, version, range, .. } = found;
    output.tell(version);
    let told = range.as_ref().map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, version.size));
    output.place(told, version_told(bucket, &version.id), expiration(bucket, key, version));
    // A checksum is of the whole object, and would be taken for that of what is sent.
    let wanted = checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if let Some(checksum) = &version.attributes.checksum
        && wanted
        && range.as_ref().is_none_or(|range| *range == (0..version.size))
    {
        output.prove(checksum);
    }
}

/// When a rule is going to end an object, as the header `x-amz-expiration` has it.
pub(super) fn expiration(bucket: &Bucket, key: &ObjectKey, version: &Version) -> Option<String> {
    let candidate = Candidate {
        key,
        size: version.size,
        tags: &version.attributes.tags,
        modified: version.modified_at,
        state: State::Current,
    };
    let due = bucket.settings.lifecycle.as_ref()?.end(&candidate)?;
    let at = map::http_date(&map::timestamp(due.at)).ok()?;
    // An id can be any text, and a header cannot.
    Some(format!("expiry-date=\"{at}\", rule-id=\"{}\"", Encoding::Url.write(due.rule)))
}

/// The bytes as s3s sends them, with the memory that they take until they are sent.
fn blob(body: Body, reserved: Reserved, length: u64, key: ObjectKey) -> StreamingBlob {
    match body {
        Body::Whole(bytes) => StreamingBlob::from(s3s::Body::from(reserved.with(bytes))),
        Body::Stream(stream) => {
            StreamingBlob::new(Sending { stream: Mutex::new(stream), left: length, key, _reserved: reserved })
        }
    }
}

/// A stream of verified bytes. Where it breaks off the connection does, and the log says why.
struct Sending {
    // Never locked: a stream is polled by one at a time. The mutex is what makes it `Sync`, as s3s wants it.
    stream: Mutex<ByteStream>,
    left: u64,
    key: ObjectKey,
    _reserved: Reserved,
}

impl Stream for Sending {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let piece = ready!(stream.as_mut().poll_next(context));
        match &piece {
            Some(Ok(bytes)) => self.left = self.left.saturating_sub(bytes.len() as u64),
            Some(Err(error)) => {
                // A key can have line breaks in it, which its debug text escapes.
                tracing::error!(key = ?self.key, %error, "an answer was broken off: the object could not be read on");
            }
            None => {}
        }
        Poll::Ready(piece.map(|piece| piece.map_err(StdError::from)))
    }
}

impl s3s::stream::ByteStream for Sending {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

pub async fn get_object_attributes(
    api: &Api,
    request: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let key = key_of(&input.key)?;
    let id = version_of(input.version_id.as_deref())?;
    let version = api.objects.head(&bucket.name, &key, id.as_ref()).await?;
    let known = [
        ObjectAttributes::CHECKSUM,
        ObjectAttributes::ETAG,
        ObjectAttributes::OBJECT_PARTS,
        ObjectAttributes::OBJECT_SIZE,
        ObjectAttributes::STORAGE_CLASS,
    ];
    // s3s takes what stands in one header for one name.
    let asked: Vec<&str> =
        input.object_attributes.iter().flat_map(|names| names.as_str().split(',')).map(str::trim).collect();
    if asked.is_empty() || asked.iter().any(|asked| !known.contains(asked)) {
        return Err(Failure::invalid_argument("Invalid attribute name specified."));
    }
    let wants = |name: &str| asked.contains(&name);
    let manifest = match version.content {
        Contents::Many { .. } if wants(ObjectAttributes::OBJECT_PARTS) => api.objects.manifest(&version).await?,
        _ => None,
    };
    let object_parts = match manifest {
        Some(manifest) => Some(parts_told(&manifest, &version, input.max_parts, input.part_number_marker)?),
        None => None,
    };
    let checksum = version.attributes.checksum.as_ref().filter(|_| wants(ObjectAttributes::CHECKSUM));
    let checksum = checksum.map(|checksum| {
        let mut told = Checksum { checksum_type: map::checksum_kind(Some(checksum)), ..Checksum::default() };
        tell_checksum!(told, Some(checksum));
        told
    });
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum,
        e_tag: wants(ObjectAttributes::ETAG).then(|| map::etag(&version.attributes.etag)),
        object_parts,
        object_size: wants(ObjectAttributes::OBJECT_SIZE).then(|| map::size(version.size)),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        last_modified: Some(map::timestamp(version.modified_at)),
        version_id: version_told(&bucket, &version.id),
        ..GetObjectAttributesOutput::default()
    }))
}

fn parts_told(
    manifest: &Arc<Manifest>,
    version: &Version,
    limit: Option<i32>,
    after: Option<i32>,
) -> Result<GetObjectAttributesParts> {
    let limit = limit.unwrap_or(MOST_PARTS).min(MOST_PARTS);
    let after = after.unwrap_or(0);
    let negative = || Failure::invalid_argument("max-parts and part-number-marker are not negative");
    let count = usize::try_from(limit).map_err(|_| negative())?;
    let first = usize::try_from(after).map_err(|_| negative())?;
    let number = |number: usize| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let mut parts = manifest.parts.iter().enumerate().skip(first);
    // Parts without checksums of the object's own kind are counted and not listed, as in Amazon S3.
    let composite = version.attributes.checksum.is_some();
    let told: Vec<_> = parts
        .by_ref()
        .take(count)
        .map(|(at, part)| {
            let mut told =
                ObjectPart { part_number: number(at + 1), size: Some(map::size(part.size)), ..ObjectPart::default() };
            tell_checksum!(told, part.checksum.as_ref());
            told
        })
        .collect();
    let next = first.saturating_add(told.len()).min(manifest.parts.len());
    Ok(GetObjectAttributesParts {
        is_truncated: Some(parts.next().is_some()),
        max_parts: Some(limit),
        part_number_marker: Some(after),
        next_part_number_marker: number(next),
        total_parts_count: number(manifest.parts.len()),
        parts: composite.then_some(told),
    })
}
