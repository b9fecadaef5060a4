//! Buckets themselves.

use mainstay_bucket::{BucketName, ObjectLock, Settings, Versioning};
use mainstay_objects::NewBucket;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, ObjectOwnership,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::{Answer, Api, bucket_of};
use crate::access::Known;
use crate::config::DEFAULT_REGION;
use crate::error::Failure;
use crate::map;
use crate::refuse::no_acls;

/// As many as one listing of buckets tells in Amazon S3.
const MOST_BUCKETS: i32 = 10_000;

pub async fn list_buckets(api: &Api, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
    let account = Known::of(&request)?.caller.account()?;
    let input = &request.input;
    let limit = match input.max_buckets {
        None => MOST_BUCKETS,
        Some(limit @ 1..=MOST_BUCKETS) => limit,
        Some(_) => return Err(Failure::invalid_argument("max-buckets must be between 1 and 10000")),
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let after = input.continuation_token.as_deref().unwrap_or_default();
    let here = input.bucket_region.as_deref().is_none_or(|region| region == api.config.region);
    let told = |bucket: &std::sync::Arc<mainstay_objects::Bucket>| Bucket {
        name: Some(bucket.name.to_string()),
        creation_date: Some(map::timestamp(bucket.created_at)),
        bucket_region: Some(api.config.region.clone()),
    };
    let wanted = |bucket: &&std::sync::Arc<mainstay_objects::Bucket>| {
        here && bucket.name.as_str().starts_with(prefix) && bucket.name.as_str() > after
    };
    let all = api.objects.buckets(account);
    let mut rest = all.iter().filter(wanted);
    let buckets: Vec<_> = rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).map(told).collect();
    let last = buckets.last().and_then(|bucket| bucket.name.clone());
    Ok(S3Response::new(ListBucketsOutput {
        continuation_token: rest.next().and(last),
        buckets: Some(buckets),
        owner: Some(map::owner(account)),
        prefix: input.prefix.clone(),
    }))
}

pub async fn create_bucket(api: &Api, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
    let account = Known::of(&request)?.caller.account()?.clone();
    let input = &request.input;
    let region = input.create_bucket_configuration.as_ref().and_then(|said| said.location_constraint.as_ref());
    if let Some(region) = region.map(BucketLocationConstraint::as_str)
        && !region.is_empty()
        && !api.config.accepts_region(region)
    {
        let message = format!("The specified location-constraint is not valid: use {}", api.config.region);
        return Err(Failure::new(S3ErrorCode::InvalidLocationConstraint, message));
    }
    let configured = input.create_bucket_configuration.as_ref();
    if configured.is_some_and(|said| said.bucket.is_some() || said.location.is_some()) {
        return Err(Failure::not_implemented("directory buckets"));
    }
    if let Some(ownership) = &input.object_ownership
        && ownership.as_str() != ObjectOwnership::BUCKET_OWNER_ENFORCED
    {
        return Err(no_acls());
    }
    let name: BucketName = input.bucket.parse().map_err(|error: mainstay_types::InvalidText| {
        Failure::new(S3ErrorCode::InvalidBucketName, error.to_string())
    })?;
    let mut settings = Settings::default();
    if input.object_lock_enabled_for_bucket == Some(true) {
        settings.lock = Some(ObjectLock::default());
        settings.versioning = Versioning::Enabled;
    }
    api.objects.create_bucket(NewBucket { name: name.clone(), account, settings }).await?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
}

pub async fn delete_bucket(api: &Api, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
    api.objects.delete_bucket(&bucket_of(&request)?.name).await?;
    Ok(S3Response::with_status(DeleteBucketOutput {}, hyper::StatusCode::NO_CONTENT))
}

pub async fn head_bucket(api: &Api, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    bucket_of(&request)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(api.config.region.clone()),
        ..HeadBucketOutput::default()
    }))
}

pub async fn get_bucket_location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    bucket_of(&request)?;
    // The first region of Amazon's has no name here.
    let named = Some(api.config.region.clone()).filter(|region| region != DEFAULT_REGION);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: named.map(BucketLocationConstraint::from) }))
}
