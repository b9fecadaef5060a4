//! What S3's operations do: one file for each group of them.

mod access_control;
mod bucket_settings;
mod buckets;
mod copy;
mod delete;
mod form;
mod get;
mod list;
mod multipart;
mod object_settings;
mod put;
mod service;

use std::sync::Arc;

use mainstay_bucket::{ObjectKey, VersionId};
use mainstay_objects::{Bucket, Objects};
use mainstay_types::InstanceId;
use s3s::{S3Request, S3Response};

use crate::access::{Asking, Known};
use crate::arrival::{Arrival, RequestId};
use crate::config::S3Config;
use crate::error::{Failure, Result};
use crate::memory::Memory;

/// The operations over the object store. A clone is another handle to the same ones.
#[derive(Clone)]
pub struct Api {
    objects: Objects,
    config: Arc<S3Config>,
    uploads: Memory,
    downloads: Memory,
}

type Answer<T> = Result<S3Response<T>>;

impl Api {
    pub fn new(objects: Objects, config: Arc<S3Config>) -> Self {
        let limits = &config.limits;
        let [uploads, downloads] =
            [limits.upload_bytes, limits.download_bytes].map(|bytes| Memory::new(bytes, limits.memory_wait));
        Self { objects, config, uploads, downloads }
    }
}

/// The bucket that a request names.
fn bucket_of<T>(request: &S3Request<T>) -> Result<Arc<Bucket>> {
    Known::of(request)?.bucket().cloned()
}

/// The account whose share of memory a request takes: its sender's, and for whoever has none the one that lets him in.
fn payer<'a, T>(request: &'a S3Request<T>, bucket: &'a Bucket) -> Result<&'a InstanceId> {
    Ok(Known::of(request)?.caller.account().unwrap_or(&bucket.account))
}

/// The name that its sender and the log know a request by.
fn id_of<T>(request: &S3Request<T>) -> Option<RequestId> {
    request.extensions.get::<Arrival>().map(|arrival| arrival.id)
}

fn key_of(key: &str) -> Result<ObjectKey> {
    Ok(key.parse()?)
}

fn version_of(id: Option<&str>) -> Result<Option<VersionId>> {
    let parsed = id.map(str::parse).transpose();
    parsed.map_err(|_| Failure::invalid_argument("Invalid version id specified"))
}

/// Whether governance mode is bypassed: where the request asks for it and its sender may.
async fn bypass<T>(
    api: &Api,
    request: &S3Request<T>,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<&str>,
    asked: Option<bool>,
) -> Result<bool> {
    use mainstay_bucket::policy::Action;
    if asked != Some(true) {
        return Ok(false);
    }
    let wish =
        crate::access::Wish { action: Action::BypassGovernanceRetention, bucket, key: Some(key), version, tags: None };
    Asking::of(request)?.may(&api.objects, wish).await
}

/// The id that is told of a version: none in a bucket that never had versions.
fn version_told(bucket: &Bucket, id: &VersionId) -> Option<String> {
    (bucket.settings.versioning != mainstay_bucket::Versioning::Unversioned).then(|| id.to_string())
}

/// That an object is encrypted at rest.
fn encryption_told(encrypted: bool) -> Option<s3s::dto::ServerSideEncryption> {
    encrypted.then(|| s3s::dto::ServerSideEncryption::from_static(s3s::dto::ServerSideEncryption::AES256))
}
