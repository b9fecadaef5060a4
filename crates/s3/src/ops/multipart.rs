//! Objects in parts.

use mainstay_bucket::{Checksum, ChecksumAlgorithm, ChecksumKind, ObjectKey};
use mainstay_objects::{
    Complete, CompletePart, NewUpload, Part, PutPart, Refusal, Target, Upload, UploadAttributes, UploadId, UploadRef,
    UploadsQuery,
};
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload,
    StorageClass, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::bucket_settings::gone;
use super::get::expiration;
use super::list::{Encoding, delimiter_of, page_length};
use super::put::{Arriving, check_early, encrypts, receive, write_conditions};
use super::{Answer, Api, bucket_of, encryption_told, key_of, version_told};
use crate::body::{BodyError, Measured, of_parts};
use crate::error::{Failure, Result};
use crate::map::{self, tell_checksum, told_checksums};

/// Parts of an upload, as in Amazon S3.
const MOST_PARTS: i32 = 10_000;
/// What an object gets whose client asks for no checksum: the one that can be put together from those of its parts.
const DEFAULT: (ChecksumAlgorithm, ChecksumKind) = (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject);

pub(super) fn upload_id(text: &str) -> Result<UploadId> {
    // An id that is none is one of no upload.
    text.parse().map_err(|_| Refusal::NoSuchUpload.into())
}

pub(super) fn part_number(number: i32) -> Result<u32> {
    let invalid = || Failure::invalid_argument("Part number must be an integer between 1 and 10000, inclusive");
    u32::try_from(number).ok().filter(|_| (1..=MOST_PARTS).contains(&number)).ok_or_else(invalid)
}

fn upload_of(bucket: &mainstay_objects::Bucket, key: &str, id: &str) -> Result<UploadRef> {
    Ok(UploadRef { bucket: bucket.name.clone(), key: key_of(key)?, id: upload_id(id)? })
}

pub async fn create_multipart_upload(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let mode = input.object_lock_mode.as_ref().map(|mode| mode.as_str());
    let retention = map::retention(mode, input.object_lock_retain_until_date.as_ref())?;
    let legal_hold = map::legal_hold(input.object_lock_legal_hold_status.as_ref())?;
    let locks = retention.is_some() || input.object_lock_legal_hold_status.is_some();
    if locks && bucket.settings.lock.is_none() {
        return Err(Refusal::NoLock.into());
    }
    let checksum = checksum_of(input)?;
    let attributes = UploadAttributes {
        metadata: map::metadata(input)?,
        tags: map::header_tags(input.tagging.as_deref())?,
        retention,
        legal_hold,
        encrypted: encrypts(&request.headers) || bucket.settings.encryption.is_some(),
        checksum,
    };
    let new = NewUpload { bucket: bucket.name.clone(), key: key_of(&input.key)?, attributes };
    let upload = api.objects.create_upload(new).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        key: Some(input.key.clone()),
        upload_id: Some(upload.id.to_string()),
        server_side_encryption: encryption_told(upload.attributes.encrypted),
        checksum_algorithm: checksum.map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(algorithm.as_str())),
        checksum_type: checksum.map(|(_, kind)| map::kind_told(kind)),
        ..CreateMultipartUploadOutput::default()
    }))
}

/// The checksum that the object is to have, where the client says it.
fn checksum_of(input: &CreateMultipartUploadInput) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().parse()).transpose()?;
    let kind = input.checksum_type.as_ref().map(|kind| kind.as_str().parse()).transpose()?;
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), kind) => {
            let algorithm: ChecksumAlgorithm = algorithm;
            let kind: ChecksumKind = kind.unwrap_or_else(|| algorithm.default_kind());
            if !algorithm.supports(kind) {
                let message = format!(
                    "The {} checksum type cannot be used with the {algorithm} checksum algorithm.",
                    kind.as_str()
                );
                return Err(Failure::invalid_request(message));
            }
            Ok(Some((algorithm, kind)))
        }
    }
}

pub async fn upload_part(api: &Api, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let upload = upload_of(&bucket, &input.key, &input.upload_id)?;
    let number = part_number(input.part_number)?;
    let begun = api.objects.upload(&upload).await?;
    let told = map::told_checksum(told_checksums!(input))?;
    let asked = begun.attributes.checksum.map(|(algorithm, _)| algorithm);
    if let (Some(told), Some(asked)) = (&told, asked)
        && told.algorithm() != asked
    {
        let message = format!(
            "Checksum Type mismatch occurred, expected checksum Type: {asked}, actual checksum Type: {}",
            told.algorithm()
        );
        return Err(Failure::invalid_request(message));
    }
    let default = Some(asked.unwrap_or(DEFAULT.0));
    let target = Target::Part { upload: &upload, number };
    let arriving = Arriving { target, told, default, encrypt: begun.attributes.encrypted };
    let arrived = receive(api, &request, &bucket, arriving).await?;
    let encrypted = arrived.content.encrypted;
    let part = PutPart { upload, number, content: arrived.content, etag: arrived.etag, checksum: arrived.checksum };
    let part = api.objects.put_part(part).await?;
    let mut output = UploadPartOutput {
        e_tag: Some(map::etag(&part.etag)),
        server_side_encryption: encryption_told(encrypted),
        ..UploadPartOutput::default()
    };
    tell_checksum!(output, part.checksum.as_ref());
    Ok(S3Response::new(output))
}

pub async fn complete_multipart_upload(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let upload = upload_of(&bucket, &input.key, &input.upload_id)?;
    let listed = input.multipart_upload.as_ref().and_then(|listed| listed.parts.as_deref()).unwrap_or_default();
    if listed.is_empty() || listed.len() > MOST_PARTS.unsigned_abs() as usize {
        return Err(Failure::malformed_xml("An upload is completed of between 1 and 10000 parts"));
    }
    let conditions = write_conditions(&request.headers)?;
    let parts = listed.iter().map(complete_part).collect::<Result<Vec<_>>>()?;
    let checksum = match api.objects.upload(&upload).await {
        Ok(begun) => {
            check_early(api, &bucket, &upload.key, &conditions).await?;
            whole_checksum(api, input, &upload, &begun, listed, &parts).await?
        }
        // It may have been completed before, and the answer lost: the index knows.
        Err(mainstay_objects::Error::Refused(Refusal::NoSuchUpload)) => None,
        Err(error) => return Err(error.into()),
    };
    let key = upload.key.clone();
    let version = api.objects.complete(Complete { upload, parts, checksum, conditions }).await?;
    let checksum = version.attributes.checksum.as_ref();
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        key: Some(input.key.clone()),
        location: Some(location(&request, &bucket.name, &key)),
        e_tag: Some(map::etag(&version.attributes.etag)),
        expiration: expiration(&bucket, &key, &version),
        server_side_encryption: encryption_told(version.attributes.encrypted),
        version_id: version_told(&bucket, &version.id),
        checksum_type: map::checksum_kind(checksum),
        ..CompleteMultipartUploadOutput::default()
    };
    tell_checksum!(output, checksum);
    Ok(S3Response::new(output))
}

fn location<T>(request: &S3Request<T>, bucket: &mainstay_bucket::BucketName, key: &ObjectKey) -> String {
    let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let key = Encoding::Url.write(key.as_str());
    // Where a path begins with the bucket, so does the way to the object.
    match request.uri.path().strip_prefix('/').and_then(|path| path.strip_prefix(bucket.as_str())) {
        Some(rest) if rest.starts_with('/') => format!("http://{host}/{bucket}/{key}"),
        _ => format!("http://{host}/{key}"),
    }
}

fn complete_part(part: &CompletedPart) -> Result<CompletePart> {
    let number = part_number(part.part_number.ok_or_else(|| Failure::malformed_xml("A part has no number"))?)?;
    let etag = part.e_tag.as_ref().ok_or_else(|| Failure::malformed_xml("A part has no ETag"))?;
    // An ETag that is none is that of no part.
    let etag = etag.value().parse().map_err(|_| Refusal::InvalidPart { number })?;
    Ok(CompletePart { number, etag })
}

/// The checksum of the object that the parts are going to make, which is the one that the client tells.
async fn whole_checksum(
    api: &Api,
    input: &CompleteMultipartUploadInput,
    upload: &UploadRef,
    begun: &Upload,
    listed: &[CompletedPart],
    parts: &[CompletePart],
) -> Result<Option<Checksum>> {
    if !parts.is_sorted_by(|one, other| one.number < other.number) {
        return Err(Refusal::InvalidPartOrder.into());
    }
    let uploaded = api.objects.parts(upload, 0, MOST_PARTS.unsigned_abs() as usize).await?;
    let find = |number: u32| {
        let at = uploaded.binary_search_by_key(&number, |part| part.number);
        at.map(|at| &uploaded[at]).map_err(|_| Refusal::InvalidPart { number })
    };
    let chosen: Vec<&Part> = parts.iter().map(|part| find(part.number)).collect::<std::result::Result<_, _>>()?;
    for (part, told) in chosen.iter().zip(listed) {
        let told = map::told_checksum(told_checksums!(told))?;
        if told.is_some() && told != part.checksum {
            return Err(Refusal::InvalidPart { number: part.number }.into());
        }
    }
    let size: u64 = chosen.iter().map(|part| part.size).sum();
    if input.mpu_object_size.is_some_and(|told| u64::try_from(told) != Ok(size)) {
        let message = "The provided 'x-amz-mp-object-size' header value does not match what was computed.";
        return Err(Failure::invalid_request(message));
    }
    let (algorithm, kind) = begun.attributes.checksum.unwrap_or_else(|| found(&chosen));
    if input.checksum_type.as_ref().is_some_and(|told| told.as_str() != kind.as_str()) {
        let message = "The checksum type is not the one that the upload was begun with.";
        return Err(Failure::invalid_request(message));
    }
    let sums = chosen.iter().map(|part| (part.size, part.checksum.as_ref()));
    let whole = of_parts(algorithm, kind, sums);
    if let Some(told) = told_whole(input, kind)?
        && whole.as_ref() != Some(&told)
    {
        return Err(BodyError::Mismatch(Measured::Checksum(told.algorithm())).into());
    }
    Ok(whole)
}

/// The checksum of an object whose client asked for none, and may have sent some with the parts all the same.
fn found(parts: &[&Part]) -> (ChecksumAlgorithm, ChecksumKind) {
    let first = parts.first().and_then(|part| part.checksum.as_ref()).map_or(DEFAULT.0, Checksum::algorithm);
    (first, if first.supports(DEFAULT.1) { DEFAULT.1 } else { first.default_kind() })
}

/// The checksum of the whole object that the client tells. A composite one may leave out the number of parts.
fn told_whole(input: &CompleteMultipartUploadInput, kind: ChecksumKind) -> Result<Option<Checksum>> {
    let told = map::told_checksum(told_checksums!(input))?;
    match told {
        Some(told) if kind == ChecksumKind::Composite && told.kind() == ChecksumKind::FullObject => {
            let listed = input.multipart_upload.as_ref().and_then(|listed| listed.parts.as_ref()).map_or(0, Vec::len);
            let count = u32::try_from(listed).ok().and_then(std::num::NonZeroU32::new);
            let count = count.ok_or_else(|| Failure::from(S3ErrorCode::MalformedXML))?;
            Ok(Some(Checksum::composite(told.algorithm(), told.value(), count)?))
        }
        told => Ok(told),
    }
}

pub async fn abort_multipart_upload(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let input = &request.input;
    if input.if_match_initiated_time.is_some() {
        return Err(Failure::not_implemented("x-amz-if-match-initiated-time"));
    }
    let upload = upload_of(&*bucket_of(&request)?, &input.key, &input.upload_id)?;
    api.objects.abort(&upload).await?;
    Ok(gone(AbortMultipartUploadOutput { request_charged: None }))
}

pub async fn list_parts(api: &Api, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let upload = upload_of(&bucket, &input.key, &input.upload_id)?;
    let begun = api.objects.upload(&upload).await?;
    let (limit, max_parts) = page_length(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = u32::try_from(marker).map_err(|_| Failure::invalid_argument("part-number-marker is not negative"))?;
    let mut parts = api.objects.parts(&upload, after, limit + 1).await?;
    let truncated = parts.len() > limit && limit > 0;
    parts.truncate(limit);
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let checksum = begun.attributes.checksum;
    let told = |part: &Part| {
        let mut told = dto::Part {
            part_number: Some(number(part.number)),
            e_tag: Some(map::etag(&part.etag)),
            last_modified: Some(map::timestamp(part.modified_at)),
            size: Some(map::size(part.size)),
            ..dto::Part::default()
        };
        tell_checksum!(told, part.checksum.as_ref());
        told
    };
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(bucket.name.to_string()),
        key: Some(input.key.clone()),
        upload_id: Some(input.upload_id.clone()),
        max_parts: Some(max_parts),
        part_number_marker: Some(marker),
        next_part_number_marker: parts.last().map(|part| number(part.number)),
        is_truncated: Some(truncated),
        parts: Some(parts.iter().map(told).collect()),
        owner: Some(map::owner(&bucket.account)),
        initiator: Some(map::initiator(&bucket.account)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: checksum.map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(algorithm.as_str())),
        checksum_type: checksum.map(|(_, kind)| map::kind_told(kind)),
        ..ListPartsOutput::default()
    }))
}

pub async fn list_multipart_uploads(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (limit, max_uploads) = page_length(input.max_uploads, "max-uploads")?;
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    // Without a key the marker of an upload means nothing, and is not looked at.
    let id_marker = input.upload_id_marker.as_deref().filter(|marker| !marker.is_empty() && key_marker.is_some());
    let id_marker = match id_marker.map(str::parse::<UploadId>).transpose() {
        Ok(marker) => marker,
        Err(_) => return Err(Failure::invalid_argument("Invalid uploadId marker")),
    };
    let query = UploadsQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter_of(input.delimiter.as_ref()),
        after: key_marker.map(|key| (key, id_marker)),
        limit,
    };
    let page = api.objects.uploads(&bucket.name, query).await?;
    let told = |upload: &Upload| MultipartUpload {
        key: Some(encoding.write(upload.key.as_str())),
        upload_id: Some(upload.id.to_string()),
        initiated: Some(map::timestamp(upload.created_at)),
        initiator: Some(map::initiator(&bucket.account)),
        owner: Some(map::owner(&bucket.account)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: upload
            .attributes
            .checksum
            .map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(algorithm.as_str())),
        checksum_type: upload.attributes.checksum.map(|(_, kind)| map::kind_told(kind)),
    };
    let next = page.next.filter(|_| limit > 0);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(bucket.name.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        delimiter: delimiter_of(input.delimiter.as_ref()).map(|delimiter| encoding.write(&delimiter)),
        key_marker: Some(encoding.write(input.key_marker.as_deref().unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.clone().unwrap_or_default()),
        max_uploads: Some(max_uploads),
        is_truncated: Some(next.is_some()),
        next_key_marker: next.as_ref().map(|(key, _)| encoding.write(key)),
        next_upload_id_marker: next.and_then(|(_, id)| id).map(|id| id.to_string()),
        uploads: Some(page.uploads.iter().map(told).collect()),
        common_prefixes: encoding.prefixes(&page.prefixes),
        encoding_type: encoding.told(),
        request_charged: None,
    }))
}
