//! Objects from HTML forms. s3s has verified the form's policy and holds its file.

use futures::TryStreamExt;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use mainstay_bucket::policy::Action;
use mainstay_bucket::{ChecksumAlgorithm, Tags};
use mainstay_dataplane::{Compression, Expect, Md5, SourceError};
use mainstay_objects::{Attributes, CreatedBy, Ingest, Put, Refusal, Target};
use s3s::dto::{PostObjectInput, PostObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::put::{check_early, etag_of, form_conditions};
use super::{Answer, Api, bucket_of, encryption_told, key_of, version_told};
use crate::access::{Asking, Wish, expect_owner};
use crate::arrival::Arrival;
use crate::body::{BodyError, Digester, FormHead, Measured, md5_of_header};
use crate::error::{Failure, Result};
use crate::map::{self, tell_checksum, told_checksums};
use crate::refuse;

pub async fn post_object(api: &Api, mut request: S3Request<PostObjectInput>) -> Answer<PostObjectOutput> {
    check_signature(api, &request)?;
    let body = request.input.body.take();
    let input = &request.input;
    let form = form_of(&request);
    check_fields(input)?;
    // What s3s knows by the name of a header only.
    form.field("acl").map_or(Ok(()), |acl| refuse::check_header("x-amz-acl", acl))?;
    let bucket = bucket_of(&request)?;
    expect_owner(input.expected_bucket_owner.as_deref(), &bucket)?;
    let key = named(&input.key, form.filename.as_deref());
    let key = key_of(&key)?;
    let tags = match input.tagging.as_deref() {
        Some(header) => map::header_tags(Some(header))?,
        None => form_tags(form.field("tagging"))?,
    };
    let mut actions = vec![Action::PutObject];
    actions.extend(input.if_match.is_some().then_some(Action::GetObject));
    actions.extend((!tags.is_empty()).then_some(Action::PutObjectTagging));
    actions.extend(input.object_lock_mode.is_some().then_some(Action::PutObjectRetention));
    actions.extend(input.object_lock_legal_hold_status.is_some().then_some(Action::PutObjectLegalHold));
    let until = input.object_lock_retain_until_date.as_ref().map(map::moment).transpose()?.map(|at| at.to_string());
    let said = said(input, until.as_deref());
    for action in actions {
        let wish = Wish { action, bucket: &bucket, key: Some(&key), version: None, tags: Some(&tags) };
        Asking::of(&request)?.saying(&said).must(&api.objects, wish).await?;
    }
    let metadata = map::metadata(input)?;
    let mode = input.object_lock_mode.as_ref().map(|mode| mode.as_str());
    let retention = map::retention(mode, input.object_lock_retain_until_date.as_ref())?;
    let legal_hold = map::legal_hold(input.object_lock_legal_hold_status.as_ref())?;
    if (retention.is_some() || input.object_lock_legal_hold_status.is_some()) && bucket.settings.lock.is_none() {
        return Err(Refusal::NoLock.into());
    }
    let conditions = form_conditions(input.if_match.as_ref(), input.if_none_match.as_ref());
    check_early(api, &bucket, &key, &conditions).await?;

    // What s3s holds in memory is read at once.
    let pieces: Vec<bytes::Bytes> = match body {
        Some(body) => body.try_collect().await.map_err(|_| BodyError::Incomplete)?,
        None => Vec::new(),
    };
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    api.objects.check_quota(Target::Object { bucket: &bucket.name, key: &key }, size).await?;
    let told = map::told_checksum(told_checksums!(input))?;
    let algorithm = told.as_ref().map_or(ChecksumAlgorithm::Crc64Nvme, |told| told.algorithm());
    let mut digester = Digester::new(algorithm);
    pieces.iter().for_each(|piece| digester.update(piece));
    let checksum = digester.finish();
    if told.is_some_and(|told| told != checksum) {
        return Err(BodyError::Mismatch(Measured::Checksum(algorithm)).into());
    }
    let md5 = input.content_md5.as_deref().map(|text| md5_of_header(text).ok_or(Measured::Md5)).transpose()?;
    let ingest = Ingest {
        source: Box::pin(futures::stream::iter(pieces.into_iter().map(Ok::<_, SourceError>))),
        expect: Expect { size: Some(size), md5: md5.map(Md5), ..Expect::default() },
        md5: true,
        encrypt: input.server_side_encryption.is_some(),
        compression: Compression::None,
    };
    let content = api.objects.ingest(&bucket.name, ingest).await?;
    let attributes = Attributes {
        etag: etag_of(&content)?,
        metadata,
        tags,
        checksum: Some(checksum.clone()),
        retention,
        legal_hold,
        encrypted: content.encrypted,
    };
    let put = Put { bucket: bucket.name.clone(), key, content, attributes, conditions, by: CreatedBy::Post };
    let version = api.objects.put(put).await?;
    let mut output = PostObjectOutput {
        e_tag: Some(map::etag(&version.attributes.etag)),
        server_side_encryption: encryption_told(version.attributes.encrypted),
        version_id: version_told(&bucket, &version.id),
        ..PostObjectOutput::default()
    };
    tell_checksum!(output, Some(&checksum));
    let mut response = S3Response::new(output);
    // s3s tells it in the body alone, which few answers have.
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", version.attributes.etag)) {
        response.headers.insert(ETAG, etag);
    }
    Ok(response)
}

/// What the heads of other requests are asked before s3s gets them: s3s has looked at the rest.
fn check_signature(api: &Api, request: &S3Request<PostObjectInput>) -> Result<()> {
    match &request.region {
        Some(region) if !api.config.accepts_region(region.as_str()) => {
            let message = refuse::wrong_region(&api.config, region.as_str());
            Err(Failure::new(S3ErrorCode::AuthorizationHeaderMalformed, message))
        }
        Some(_) => refuse::signed_ahead(form_of(request).field("x-amz-date").unwrap_or_default()),
        // The old way of signing knows no regions.
        None if request.credentials.is_some() => Err(refuse::old_signature()),
        None => Ok(()),
    }
}

/// The form as it was sent.
fn form_of(request: &S3Request<PostObjectInput>) -> FormHead {
    let slot = request.extensions.get::<Arrival>().and_then(|arrival| arrival.body.as_ref());
    let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    slot.map(|slot| slot.form(content_type)).unwrap_or_default()
}

/// The key, in which `${filename}` stands for the name of the file, without the directories that some browsers tell.
fn named(key: &str, filename: Option<&str>) -> String {
    let name = filename.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    key.replace("${filename}", name)
}

/// Fields that conditions of policies ask for, by the names that they have as headers.
fn said<'a>(input: &'a PostObjectInput, until: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let fields = [
        ("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str())),
        ("x-amz-storage-class", input.storage_class.as_ref().map(|class| class.as_str())),
        ("x-amz-server-side-encryption", input.server_side_encryption.as_ref().map(|kind| kind.as_str())),
        ("x-amz-website-redirect-location", input.website_redirect_location.as_deref()),
        ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(|mode| mode.as_str())),
        ("x-amz-object-lock-retain-until-date", until),
        ("x-amz-object-lock-legal-hold", input.object_lock_legal_hold_status.as_ref().map(|hold| hold.as_str())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Fields that are headers elsewhere.
fn check_fields(input: &PostObjectInput) -> Result<()> {
    let text = |name: &str, value: Option<&str>| value.map_or(Ok(()), |value| refuse::check_header(name, value));
    text("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str()))?;
    text("x-amz-storage-class", input.storage_class.as_ref().map(|class| class.as_str()))?;
    text("x-amz-server-side-encryption", input.server_side_encryption.as_ref().map(|kind| kind.as_str()))?;
    text("x-amz-server-side-encryption-aws-kms-key-id", input.ssekms_key_id.as_deref())?;
    text("x-amz-server-side-encryption-context", input.ssekms_encryption_context.as_deref())?;
    text("x-amz-server-side-encryption-customer-key", input.sse_customer_key.as_deref())?;
    text("x-amz-server-side-encryption-customer-algorithm", input.sse_customer_algorithm.as_deref())?;
    text("x-amz-grant-full-control", input.grant_full_control.as_deref())?;
    text("x-amz-grant-read", input.grant_read.as_deref())?;
    text("x-amz-grant-read-acp", input.grant_read_acp.as_deref())?;
    text("x-amz-grant-write-acp", input.grant_write_acp.as_deref())
}

/// Tags of a form: the XML of `PutObjectTagging`.
fn form_tags(field: Option<&str>) -> Result<Tags> {
    let Some(field) = field.filter(|field| !field.trim().is_empty()) else { return Ok(Tags::default()) };
    let mut deserializer = s3s::xml::Deserializer::new(field.as_bytes());
    let tagging = s3s::xml::Deserialize::deserialize(&mut deserializer);
    map::object_tags(tagging.map_err(|_| Failure::malformed_xml("The field `tagging` is no XML of tags"))?)
}
