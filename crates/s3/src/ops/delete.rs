//! Deleting objects.

use futures::{StreamExt, stream};
use mainstay_bucket::Conditions;
use mainstay_bucket::conditions::EntityTags;
use mainstay_bucket::policy::Action;
use mainstay_objects::{Bucket, Delete, Deleted};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response};

use super::bucket_settings::gone;
use super::{Answer, Api, bucket_of, bypass, id_of, key_of, version_of};
use crate::access::{Asking, Wish};
use crate::error::{Failure, Result};
use crate::map;

/// Keys that one request deletes at most, as in Amazon S3.
const MOST_KEYS: usize = 1000;
/// Conditions that S3 has for other calls: what was to be kept under one would be gone where it is not looked at.
const FOREIGN_CONDITIONS: [&str; 3] = ["if-none-match", "if-modified-since", "if-unmodified-since"];
/// Keys of one request that are deleted at the same time: enough to share their place in the index's batches.
const AT_ONCE: usize = 64;

pub async fn delete_object(api: &Api, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
    let input = &request.input;
    if let Some(name) = FOREIGN_CONDITIONS.into_iter().find(|name| request.headers.contains_key(*name)) {
        return Err(Failure::not_implemented(name));
    }
    let bucket = bucket_of(&request)?;
    let key = key_of(&input.key)?;
    let version = input.version_id.as_deref();
    let asked = input.bypass_governance_retention;
    let delete = Delete {
        bucket: bucket.name.clone(),
        version: version_of(version)?,
        conditions: conditions(
            input.if_match.as_ref().map(|_| map::tags_of(input.if_match.as_ref())).unwrap_or_default(),
            input.if_match_size,
            input.if_match_last_modified_time.as_ref(),
        )?,
        bypass_governance: bypass(api, &request, &bucket, &key, version, asked).await?,
        key,
    };
    let Deleted { version, marker } = api.objects.delete(delete).await?;
    Ok(gone(DeleteObjectOutput {
        delete_marker: marker.then_some(true),
        version_id: version.map(|id| id.to_string()),
        request_charged: None,
    }))
}

fn conditions(
    if_match: Option<EntityTags>,
    size: Option<i64>,
    modified: Option<&s3s::dto::Timestamp>,
) -> Result<Conditions> {
    let size = size.map(u64::try_from).transpose().map_err(|_| Failure::invalid_argument("A size is not negative"))?;
    Ok(Conditions {
        if_match,
        if_match_size: size,
        if_match_modified: modified.map(map::moment).transpose()?,
        ..Conditions::default()
    })
}

pub async fn delete_objects(api: &Api, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
    let bucket = bucket_of(&request)?;
    let objects = &request.input.delete.objects;
    if objects.is_empty() || objects.len() > MOST_KEYS {
        return Err(Failure::malformed_xml("A request deletes between 1 and 1000 objects"));
    }
    let quiet = request.input.delete.quiet == Some(true);
    let deletions: Vec<_> = objects.iter().map(|object| delete_one(api, &request, &bucket, object)).collect();
    let outcomes: Vec<_> = stream::iter(deletions).buffered(AT_ONCE).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in objects.iter().zip(outcomes) {
        match outcome {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(deleted_told(object, &done)),
            Err(failure) => {
                failure.log("delete_objects", id_of(&request));
                errors.push(Error {
                    code: Some(failure.code().to_owned()),
                    message: Some(failure.message().to_owned()),
                    key: Some(object.key.clone()),
                    version_id: object.version_id.clone(),
                });
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

async fn delete_one(
    api: &Api,
    request: &S3Request<DeleteObjectsInput>,
    bucket: &Bucket,
    object: &ObjectIdentifier,
) -> Result<Deleted> {
    // A policy may take some milliseconds for each key, and others wait for this thread.
    tokio::task::yield_now().await;
    let key = key_of(&object.key)?;
    let version = object.version_id.as_deref().filter(|version| !version.is_empty());
    let action = if version.is_some() { Action::DeleteObjectVersion } else { Action::DeleteObject };
    let wish = |action| Wish { action, bucket, key: Some(&key), version, tags: None };
    let asking = Asking::of(request)?;
    asking.must(&api.objects, wish(action)).await?;
    let named = object.e_tag.as_ref().is_some_and(|etag| etag.value() != "*");
    if named || object.size.is_some() || object.last_modified_time.is_some() {
        // Whoever may not read learns nothing by guessing.
        let reads = if version.is_some() { Action::GetObjectVersion } else { Action::GetObject };
        asking.must(&api.objects, wish(reads)).await?;
    }
    let asked = request.input.bypass_governance_retention;
    let etag = object.e_tag.as_ref().map(|etag| EntityTags::parse(etag.value()));
    let delete = Delete {
        bucket: bucket.name.clone(),
        version: version_of(version)?,
        conditions: conditions(etag, object.size, object.last_modified_time.as_ref())?,
        bypass_governance: bypass(api, request, bucket, &key, version, asked).await?,
        key,
    };
    Ok(api.objects.delete(delete).await?)
}

fn deleted_told(object: &ObjectIdentifier, done: &Deleted) -> DeletedObject {
    let id = done.version.as_ref().map(ToString::to_string);
    DeletedObject {
        key: Some(object.key.clone()),
        version_id: object.version_id.clone(),
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: id.filter(|_| done.marker),
    }
}
