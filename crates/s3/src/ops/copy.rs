//! Objects and parts from other objects.

use futures::{StreamExt, TryStreamExt};
use mainstay_bucket::policy::Action;
use mainstay_bucket::{BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, LegalHold, ObjectKey, VersionId};
use mainstay_dataplane::{Body, Compression, Expect, SourceError};
use mainstay_objects::{
    Attributes, Bucket, Content, CreatedBy, Ingest, Put, PutPart, Refusal, Target, UploadRef, Version,
};
use mainstay_types::InstanceId;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective,
    TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};
use std::ops::Range;
use std::sync::Arc;

use super::get::{existing, expiration};
use super::multipart::{part_number, upload_id};
use super::put::{check_early, encrypts, etag_of, write_conditions};
use super::{Answer, Api, bucket_of, encryption_told, key_of, payer, version_of, version_told};
use crate::access::{Asking, Wish, expect_owner};
use crate::body::Digester;
use crate::error::{Failure, Result};
use crate::map::{self, tell_checksum};
use crate::memory::weight_of_upload;

/// The largest object that one request copies, as in Amazon S3. What is larger is copied in parts.
const LARGEST: u64 = 5 << 30;

/// What is copied from.
struct Source {
    bucket: Arc<Bucket>,
    key: ObjectKey,
    /// As the request names it.
    id: Option<VersionId>,
    version: Arc<Version>,
}

pub async fn copy_object(api: &Api, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let key = key_of(&input.key)?;
    let expected = input.expected_source_bucket_owner.as_deref();
    let source = source(api, &request, &input.copy_source, expected).await?;
    let version = &source.version;
    map::copy_conditions(input)?.check_copy_source(&existing(version)).map_err(Refusal::from)?;
    if version.size > LARGEST {
        let message =
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
        return Err(Failure::invalid_request(message));
    }
    let replaces = replaces_metadata(input.metadata_directive.as_ref())?;
    let replaces_tags = replaces_tags(input.tagging_directive.as_ref())?;
    let encrypt = encrypts(&request.headers) || bucket.settings.encryption.is_some();
    let encrypts_anew = encrypt && !version.attributes.encrypted;
    let itself = source.bucket.name == bucket.name && source.key == key && source.id.is_none();
    let changes = replaces || replaces_tags || encrypts_anew || input.website_redirect_location.is_some();
    if itself && !changes {
        let message = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                       object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(Failure::invalid_request(message));
    }
    if !replaces_tags {
        may_carry_tags(api, &request, &source, &bucket, &key).await?;
    }
    let conditions = write_conditions(&request.headers)?;
    check_early(api, &bucket, &key, &conditions).await?;
    let attributes = attributes(input, &bucket, version, replaces, replaces_tags)?;
    let (content, attributes) = if encrypts_anew || needs_checksum(input, version)? {
        let algorithm = wanted_algorithm(input, version)?;
        let target = Target::Object { bucket: &bucket.name, key: &key };
        let (payer, range) = (payer(&request, &bucket)?, 0..version.size);
        let moving = Moving { payer, target, range, encrypt, algorithm, md5: false };
        let (content, checksum) = moved(api, &bucket, version, moving).await?;
        let encrypted = content.encrypted;
        (content, Attributes { checksum: Some(checksum), encrypted, ..attributes })
    } else {
        let content = api.objects.content_of(version).await?;
        let encrypted = content.encrypted;
        (content, Attributes { encrypted, ..attributes })
    };
    let put =
        Put { bucket: bucket.name.clone(), key: key.clone(), content, attributes, conditions, by: CreatedBy::Copy };
    let copied = api.objects.put(put).await?;

    let mut result = CopyObjectResult {
        e_tag: Some(map::etag(&copied.attributes.etag)),
        last_modified: Some(map::timestamp(copied.modified_at)),
        checksum_type: map::checksum_kind(copied.attributes.checksum.as_ref()),
        ..CopyObjectResult::default()
    };
    tell_checksum!(result, copied.attributes.checksum.as_ref());
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: version_told(&source.bucket, &version.id),
        expiration: expiration(&bucket, &key, &copied),
        server_side_encryption: encryption_told(copied.attributes.encrypted),
        version_id: version_told(&bucket, &copied.id),
        ..CopyObjectOutput::default()
    }))
}

pub async fn upload_part_copy(api: &Api, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let upload = UploadRef { bucket: bucket.name.clone(), key: key_of(&input.key)?, id: upload_id(&input.upload_id)? };
    let number = part_number(input.part_number)?;
    let begun = api.objects.upload(&upload).await?;
    let expected = input.expected_source_bucket_owner.as_deref();
    let source = source(api, &request, &input.copy_source, expected).await?;
    let version = &source.version;
    map::copy_conditions(input)?.check_copy_source(&existing(version)).map_err(Refusal::from)?;
    let range = match input.copy_source_range.as_deref() {
        None => 0..version.size,
        Some(text) => copied_range(text, version.size)?,
    };
    if range.end - range.start > LARGEST {
        let message = "The specified copy source is larger than the maximum allowable size for a part: 5368709120";
        return Err(Failure::invalid_request(message));
    }
    let algorithm = begun.attributes.checksum.map_or(ChecksumAlgorithm::Crc64Nvme, |(algorithm, _)| algorithm);
    let whole = range == (0..version.size);
    let fits = |checksum: &&Checksum| checksum.algorithm() == algorithm && checksum.kind() == ChecksumKind::FullObject;
    let known = version.attributes.checksum.as_ref().filter(fits).filter(|_| whole);
    let (content, etag, checksum) = match known {
        // Nothing needs to be read: what is told of the part is known of the object.
        Some(checksum) if version.attributes.etag.parts().is_none() && keeps(&begun, version) => {
            (api.objects.content_of(version).await?, version.attributes.etag, checksum.clone())
        }
        _ => {
            let encrypt = begun.attributes.encrypted;
            let target = Target::Part { upload: &upload, number };
            let moving = Moving { payer: payer(&request, &bucket)?, target, range, encrypt, algorithm, md5: true };
            let (content, checksum) = moved(api, &bucket, version, moving).await?;
            let etag = etag_of(&content)?;
            (content, etag, checksum)
        }
    };
    let part = PutPart { upload, number, content, etag, checksum: Some(checksum) };
    let part = api.objects.put_part(part).await?;
    let mut result = CopyPartResult {
        e_tag: Some(map::etag(&part.etag)),
        last_modified: Some(map::timestamp(part.modified_at)),
        ..CopyPartResult::default()
    };
    // A checksum that nobody asked for is not told of parts.
    tell_checksum!(result, part.checksum.as_ref().filter(|_| begun.attributes.checksum.is_some()));
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: version_told(&source.bucket, &version.id),
        server_side_encryption: encryption_told(begun.attributes.encrypted),
        ..UploadPartCopyOutput::default()
    }))
}

/// Whether a version is kept as the upload's object is to be.
fn keeps(upload: &mainstay_objects::Upload, version: &Version) -> bool {
    version.attributes.encrypted || !upload.attributes.encrypted
}

/// Finds what is copied from, where the sender may read it.
async fn source<T>(
    api: &Api,
    request: &S3Request<T>,
    named: &CopySource,
    expected_owner: Option<&str>,
) -> Result<Source> {
    let CopySource::Bucket { bucket, key, version_id } = named else {
        return Err(Failure::not_implemented("access points"));
    };
    let name: BucketName = bucket.parse()?;
    let key = key_of(key)?;
    let bucket = api.objects.bucket(&name).ok_or_else(Failure::no_such_bucket)?;
    expect_owner(expected_owner, &bucket)?;
    let action = if version_id.is_some() { Action::GetObjectVersion } else { Action::GetObject };
    let wish = Wish { action, bucket: &bucket, key: Some(&key), version: version_id.as_deref(), tags: None };
    Asking::of(request)?.must(&api.objects, wish).await?;
    let id = version_of(version_id.as_deref())?;
    let version = api.objects.head(&name, &key, id.as_ref()).await.map_err(|error| match error {
        mainstay_objects::Error::Refused(Refusal::IsMarker { .. }) => Failure::invalid_request(
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        ),
        error => error.into(),
    })?;
    Ok(Source { bucket, key, id, version })
}

/// Fails where the sender may not read the tags of what is copied, or not give them to the copy: a copy would be a way
/// around either.
async fn may_carry_tags<T>(
    api: &Api,
    request: &S3Request<T>,
    source: &Source,
    bucket: &Bucket,
    key: &ObjectKey,
) -> Result<()> {
    let tags = &source.version.attributes.tags;
    if tags.is_empty() {
        return Ok(());
    }
    let id = source.id.map(|id| id.to_string());
    let action = if id.is_some() { Action::GetObjectVersionTagging } else { Action::GetObjectTagging };
    let reading = Wish { action, bucket: &source.bucket, key: Some(&source.key), version: id.as_deref(), tags: None };
    let giving = Wish { action: Action::PutObjectTagging, bucket, key: Some(key), version: None, tags: Some(tags) };
    let asking = Asking::of(request)?;
    asking.must(&api.objects, reading).await?;
    asking.must(&api.objects, giving).await
}

fn replaces_metadata(directive: Option<&MetadataDirective>) -> Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(Failure::invalid_argument("Unknown metadata directive.")),
    }
}

fn replaces_tags(directive: Option<&TaggingDirective>) -> Result<bool> {
    match directive.map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(false),
        Some(TaggingDirective::REPLACE) => Ok(true),
        Some(_) => Err(Failure::invalid_argument("Unknown tagging directive.")),
    }
}

/// What the copy carries: the source's, or what the request brings. Locks are never copied.
fn attributes(
    input: &CopyObjectInput,
    bucket: &Bucket,
    version: &Version,
    replaces: bool,
    replaces_tags: bool,
) -> Result<Attributes> {
    let mut metadata = if replaces { map::metadata(input)? } else { version.attributes.metadata.clone() };
    // Where to a page is redirected belongs to the place, not to what is copied there.
    metadata.website_redirect_location = map::metadata(input)?.website_redirect_location;
    let tags = match replaces_tags {
        true => map::header_tags(input.tagging.as_deref())?,
        false => version.attributes.tags.clone(),
    };
    let mode = input.object_lock_mode.as_ref().map(|mode| mode.as_str());
    let retention = map::retention(mode, input.object_lock_retain_until_date.as_ref())?;
    let legal_hold = map::legal_hold(input.object_lock_legal_hold_status.as_ref())?;
    if (retention.is_some() || legal_hold == LegalHold::On) && bucket.settings.lock.is_none() {
        return Err(Refusal::NoLock.into());
    }
    Ok(Attributes {
        etag: version.attributes.etag,
        metadata,
        tags,
        checksum: version.attributes.checksum.clone(),
        retention,
        legal_hold,
        encrypted: version.attributes.encrypted,
    })
}

fn asked_algorithm(input: &CopyObjectInput) -> Result<Option<ChecksumAlgorithm>> {
    Ok(input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().parse()).transpose()?)
}

/// The algorithm that the copy's checksum has.
fn wanted_algorithm(input: &CopyObjectInput, version: &Version) -> Result<ChecksumAlgorithm> {
    let has = version.attributes.checksum.as_ref().map(Checksum::algorithm);
    Ok(asked_algorithm(input)?.or(has).unwrap_or(ChecksumAlgorithm::Crc64Nvme))
}

/// Whether the request wants another checksum than the source has.
fn needs_checksum(input: &CopyObjectInput, version: &Version) -> Result<bool> {
    let has = version.attributes.checksum.as_ref().map(Checksum::algorithm);
    Ok(asked_algorithm(input)?.is_some_and(|asked| has != Some(asked)))
}

/// How bytes are kept anew.
struct Moving<'a> {
    payer: &'a InstanceId,
    target: Target<'a>,
    /// Of the version.
    range: Range<u64>,
    encrypt: bool,
    algorithm: ChecksumAlgorithm,
    md5: bool,
}

/// Reads bytes of a version and keeps them anew, with a checksum of them.
async fn moved(api: &Api, bucket: &Bucket, version: &Version, moving: Moving<'_>) -> Result<(Content, Checksum)> {
    let Moving { payer, target, range, encrypt, algorithm, md5 } = moving;
    let size = range.end - range.start;
    api.objects.check_quota(target, size).await?;
    let _reserved = api.uploads.reserve(payer, weight_of_upload(size)).await?;
    let stream = match api.objects.read(version, Some(range)).await? {
        Body::Whole(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
        Body::Stream(stream) => stream,
    };
    let (told, hears) = futures::channel::oneshot::channel();
    // The digester goes through the stream with the bytes, and comes out of it at its end.
    let mut state = Some((Digester::new(algorithm), told));
    let measured = stream.map(Some).chain(futures::stream::iter([None])).filter_map(move |piece| {
        match &piece {
            Some(Ok(bytes)) => {
                if let Some((digester, _)) = &mut state {
                    digester.update(bytes);
                }
            }
            Some(Err(_)) => state = None,
            None => {
                if let Some((digester, told)) = state.take() {
                    // Nobody listens where the copy was given up.
                    let _ = told.send(digester.finish());
                }
            }
        }
        std::future::ready(piece)
    });
    let ingest = Ingest {
        source: Box::pin(measured.map_err(SourceError::from)),
        expect: Expect { size: Some(size), ..Expect::default() },
        md5,
        encrypt,
        compression: Compression::None,
    };
    let content = api.objects.ingest(&bucket.name, ingest).await?;
    let checksum = hears.await.map_err(|_| Failure::from(S3ErrorCode::InternalError))?;
    Ok((content, checksum))
}

/// `bytes=FIRST-LAST`, which must lie within the source.
fn copied_range(text: &str, size: u64) -> Result<Range<u64>> {
    let invalid = || {
        let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                       zero-based offsets of the first and last bytes to copy";
        Failure::invalid_argument(message)
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-')).ok_or_else(invalid)?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().map_err(|_| invalid()),
        false => Err(invalid()),
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(invalid());
    }
    if last >= size {
        let message = format!("Range specified is not valid for source object of size: {size}");
        return Err(Failure::new(S3ErrorCode::InvalidRange, message));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::copied_range;

    #[test]
    fn ranges_of_copies() {
        assert_eq!(copied_range("bytes=0-20", 21).ok(), Some(0..21));
        for bad in ["0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5", "bytes=2-1"]
        {
            assert_eq!(copied_range(bad, 100).err().unwrap().code(), "InvalidArgument", "{bad}");
        }
        assert_eq!(copied_range("bytes=0-21", 21).err().unwrap().code(), "InvalidRange");
    }
}
