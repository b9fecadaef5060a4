//! What can be changed of an object that is there: its tags and its locks.

use mainstay_bucket::policy::Action;
use mainstay_bucket::{LegalHold, Tags};
use mainstay_objects::Refusal;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectRetentionInput, GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectRetentionInput, PutObjectRetentionOutput, PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::bucket_settings::gone;
use super::{Answer, Api, bucket_of, bypass, key_of, version_of, version_told};
use crate::access::{Asking, Wish};
use crate::error::{Failure, Result};
use crate::map;

// --- tags ---

pub async fn get_object_tagging(
    api: &Api,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let bucket = bucket_of(&request)?;
    let id = version_of(request.input.version_id.as_deref())?;
    let version = api.objects.head(&bucket.name, &key_of(&request.input.key)?, id.as_ref()).await?;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: map::tags_told(&version.attributes.tags),
        version_id: version_told(&bucket, &version.id),
    }))
}

pub async fn put_object_tagging(
    api: &Api,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let bucket = bucket_of(&request)?;
    let key = key_of(&request.input.key)?;
    let version = request.input.version_id.as_deref();
    let id = version_of(version)?;
    let tags = map::object_tags(request.input.tagging.clone())?;
    let action = if version.is_some() { Action::PutObjectVersionTagging } else { Action::PutObjectTagging };
    let wish = Wish { action, bucket: &bucket, key: Some(&key), version, tags: Some(&tags) };
    Asking::of(&request)?.must(&api.objects, wish).await?;
    let version = api.objects.set_tags(&bucket.name, &key, id.as_ref(), tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: version_told(&bucket, &version.id) }))
}

pub async fn delete_object_tagging(
    api: &Api,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let bucket = bucket_of(&request)?;
    let id = version_of(request.input.version_id.as_deref())?;
    let key = key_of(&request.input.key)?;
    let version = api.objects.set_tags(&bucket.name, &key, id.as_ref(), Tags::default()).await?;
    Ok(gone(DeleteObjectTaggingOutput { version_id: version_told(&bucket, &version.id) }))
}

// --- locks ---

fn must_lock(bucket: &mainstay_objects::Bucket) -> Result<()> {
    if bucket.settings.lock.is_some() { Ok(()) } else { Err(Refusal::NoLock.into()) }
}

fn no_lock() -> Failure {
    let message = "The specified object does not have a ObjectLock configuration";
    Failure::new(S3ErrorCode::NoSuchObjectLockConfiguration, message)
}

pub async fn get_object_retention(
    api: &Api,
    request: S3Request<GetObjectRetentionInput>,
) -> Answer<GetObjectRetentionOutput> {
    let bucket = bucket_of(&request)?;
    must_lock(&bucket)?;
    let id = version_of(request.input.version_id.as_deref())?;
    let version = api.objects.head(&bucket.name, &key_of(&request.input.key)?, id.as_ref()).await?;
    let retention = version.attributes.retention.as_ref().ok_or_else(no_lock)?;
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(map::retention_told(retention)) }))
}

pub async fn put_object_retention(
    api: &Api,
    request: S3Request<PutObjectRetentionInput>,
) -> Answer<PutObjectRetentionOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let version = input.version_id.as_deref();
    let id = version_of(version)?;
    let key = key_of(&input.key)?;
    let said = input.retention.as_ref().ok_or_else(|| Failure::malformed_xml("There is no retention"))?;
    let mode = said.mode.as_ref().map(|mode| mode.as_str());
    let retention = match (mode, &said.retain_until_date) {
        // An empty retention removes the one that there is.
        (None, None) => None,
        (Some(mode), Some(until)) => map::retention(Some(mode), Some(until))?,
        _ => return Err(Failure::malformed_xml("A retention has a mode and a date")),
    };
    let until = retention.as_ref().map(|retention| retention.until.to_string());
    let said: Vec<_> = [("x-amz-object-lock-mode", mode), ("x-amz-object-lock-retain-until-date", until.as_deref())]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let action = Action::PutObjectRetention;
    let wish = Wish { action, bucket: &bucket, key: Some(&key), version, tags: None };
    Asking::of(&request)?.saying(&said).must(&api.objects, wish).await?;
    must_lock(&bucket)?;
    let asked = input.bypass_governance_retention;
    let bypass = bypass(api, &request, &bucket, &key, version, asked).await?;
    api.objects.set_retention(&bucket.name, &key, id.as_ref(), retention, bypass).await?;
    Ok(S3Response::new(PutObjectRetentionOutput { request_charged: None }))
}

pub async fn get_object_legal_hold(
    api: &Api,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Answer<GetObjectLegalHoldOutput> {
    let bucket = bucket_of(&request)?;
    must_lock(&bucket)?;
    let id = version_of(request.input.version_id.as_deref())?;
    let version = api.objects.head(&bucket.name, &key_of(&request.input.key)?, id.as_ref()).await?;
    let status = ObjectLockLegalHoldStatus::from_static(version.attributes.legal_hold.as_str());
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status: Some(status) }) }))
}

pub async fn put_object_legal_hold(
    api: &Api,
    request: S3Request<PutObjectLegalHoldInput>,
) -> Answer<PutObjectLegalHoldOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let version = input.version_id.as_deref();
    let id = version_of(version)?;
    let key = key_of(&input.key)?;
    let said = input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
    let said = said.ok_or_else(|| Failure::malformed_xml("There is no legal hold"))?;
    let hold: LegalHold = map::legal_hold(Some(said))?;
    let said = [("x-amz-object-lock-legal-hold", said.as_str())];
    let action = Action::PutObjectLegalHold;
    let wish = Wish { action, bucket: &bucket, key: Some(&key), version, tags: None };
    Asking::of(&request)?.saying(&said).must(&api.objects, wish).await?;
    must_lock(&bucket)?;
    api.objects.set_legal_hold(&bucket.name, &key, id.as_ref(), hold).await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput { request_charged: None }))
}
