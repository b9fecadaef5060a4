//! What is set for a bucket, beside who may use it.

use hyper::http::StatusCode;
use mainstay_bucket::lifecycle::Lifecycle;
use mainstay_bucket::{Encryption, Settings, Versioning};
use mainstay_objects::Refusal;
use s3s::dto::{
    BucketVersioningStatus, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketEncryptionInput,
    DeleteBucketEncryptionOutput, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput, GetBucketTaggingInput,
    GetBucketTaggingOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, MFADelete, PutBucketCorsInput, PutBucketCorsOutput, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput, PutBucketTaggingInput,
    PutBucketTaggingOutput, PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, TransitionDefaultMinimumObjectSize,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::{Answer, Api, bucket_of};
use crate::error::{Failure, Result};
use crate::map;

/// Changes settings of the bucket that a request names.
pub(super) async fn change<T>(
    api: &Api,
    request: &S3Request<T>,
    change: impl Fn(&mut Settings) -> Result<(), Refusal> + Send + Sync + 'static,
) -> Result<()> {
    api.objects.change_settings(&bucket_of(request)?.name, Box::new(change)).await?;
    Ok(())
}

/// What a deletion answers.
pub(super) fn gone<T>(output: T) -> S3Response<T> {
    S3Response::with_status(output, StatusCode::NO_CONTENT)
}

// --- versioning ---

pub async fn get_bucket_versioning(
    _: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let status = match bucket_of(&request)?.settings.versioning {
        Versioning::Unversioned => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, mfa_delete: None }))
}

pub async fn put_bucket_versioning(
    api: &Api,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let said = &request.input.versioning_configuration;
    if said.mfa_delete.as_ref().is_some_and(|mfa| mfa.as_str() != MFADelete::DISABLED) {
        return Err(Failure::not_implemented("MFA delete"));
    }
    let versioning = match said.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            let message = "The Versioning element must be specified";
            return Err(Failure::new(S3ErrorCode::IllegalVersioningConfigurationException, message));
        }
    };
    change(api, &request, move |settings| {
        if settings.lock.is_some() && versioning != Versioning::Enabled {
            let reason =
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
            return Err(Refusal::InvalidSettings { reason: reason.to_owned() });
        }
        settings.versioning = versioning;
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketVersioningOutput {}))
}

// --- CORS ---

pub async fn get_bucket_cors(_: &Api, request: S3Request<GetBucketCorsInput>) -> Answer<GetBucketCorsOutput> {
    let bucket = bucket_of(&request)?;
    let rules =
        bucket.settings.cors.as_ref().ok_or_else(|| {
            Failure::new(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist")
        })?;
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(map::cors_told(rules)) }))
}

pub async fn put_bucket_cors(api: &Api, request: S3Request<PutBucketCorsInput>) -> Answer<PutBucketCorsOutput> {
    let rules = map::cors_rules(request.input.cors_configuration.clone())?;
    change(api, &request, move |settings| {
        settings.cors = Some(rules.clone());
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketCorsOutput {}))
}

pub async fn delete_bucket_cors(
    api: &Api,
    request: S3Request<DeleteBucketCorsInput>,
) -> Answer<DeleteBucketCorsOutput> {
    change(api, &request, |settings| {
        settings.cors = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketCorsOutput {}))
}

// --- default encryption ---

pub async fn get_bucket_encryption(
    _: &Api,
    request: S3Request<GetBucketEncryptionInput>,
) -> Answer<GetBucketEncryptionOutput> {
    if bucket_of(&request)?.settings.encryption.is_none() {
        return Err(Failure::new(
            S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found",
        )
        .with_status(StatusCode::NOT_FOUND));
    }
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
            kms_master_key_id: None,
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
        }),
        bucket_key_enabled: Some(false),
    };
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration { rules: vec![rule] }),
    }))
}

pub async fn put_bucket_encryption(
    api: &Api,
    request: S3Request<PutBucketEncryptionInput>,
) -> Answer<PutBucketEncryptionOutput> {
    let rules = &request.input.server_side_encryption_configuration.rules;
    let [rule] = rules.as_slice() else { return Err(Failure::malformed_xml("There is one rule")) };
    let default = rule.apply_server_side_encryption_by_default.as_ref();
    let default = default.ok_or_else(|| Failure::malformed_xml("The rule names no algorithm"))?;
    if default.sse_algorithm.as_str() != ServerSideEncryption::AES256 || default.kms_master_key_id.is_some() {
        return Err(Failure::not_implemented("encryption with keys of KMS; use AES256"));
    }
    change(api, &request, |settings| {
        settings.encryption = Some(Encryption::Aes256);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketEncryptionOutput {}))
}

pub async fn delete_bucket_encryption(
    api: &Api,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> Answer<DeleteBucketEncryptionOutput> {
    change(api, &request, |settings| {
        settings.encryption = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketEncryptionOutput {}))
}

// --- lifecycle ---

pub async fn get_bucket_lifecycle_configuration(
    _: &Api,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> Answer<GetBucketLifecycleConfigurationOutput> {
    let bucket = bucket_of(&request)?;
    let lifecycle: &Lifecycle = bucket.settings.lifecycle.as_ref().ok_or_else(|| {
        Failure::new(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist")
    })?;
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(map::lifecycle_told(lifecycle)),
        transition_default_minimum_object_size: None,
    }))
}

pub async fn put_bucket_lifecycle_configuration(
    api: &Api,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> Answer<PutBucketLifecycleConfigurationOutput> {
    let configuration = request.input.lifecycle_configuration.clone();
    let lifecycle = map::lifecycle(configuration.ok_or_else(|| Failure::malformed_xml("There is no configuration"))?)?;
    change(api, &request, move |settings| {
        settings.lifecycle = Some(lifecycle.clone());
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: None::<TransitionDefaultMinimumObjectSize>,
    }))
}

pub async fn delete_bucket_lifecycle(
    api: &Api,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> Answer<DeleteBucketLifecycleOutput> {
    change(api, &request, |settings| {
        settings.lifecycle = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketLifecycleOutput {}))
}

// --- notifications ---

pub async fn get_bucket_notification_configuration(
    _: &Api,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> Answer<GetBucketNotificationConfigurationOutput> {
    let bucket = bucket_of(&request)?;
    let told = bucket.settings.notifications.as_ref().map(map::notifications_told);
    Ok(S3Response::new(told.unwrap_or_default()))
}

pub async fn put_bucket_notification_configuration(
    api: &Api,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> Answer<PutBucketNotificationConfigurationOutput> {
    let wishes = map::notifications(request.input.notification_configuration.clone())?;
    change(api, &request, move |settings| {
        settings.notifications = (!wishes.is_empty()).then(|| wishes.clone());
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput {}))
}

// --- tags ---

pub async fn get_bucket_tagging(_: &Api, request: S3Request<GetBucketTaggingInput>) -> Answer<GetBucketTaggingOutput> {
    let bucket = bucket_of(&request)?;
    let tags = bucket.settings.tags.as_ref();
    let tags = tags.ok_or_else(|| Failure::new(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"))?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: map::tags_told(tags) }))
}

pub async fn put_bucket_tagging(
    api: &Api,
    request: S3Request<PutBucketTaggingInput>,
) -> Answer<PutBucketTaggingOutput> {
    let tags = map::bucket_tags(request.input.tagging.clone())?;
    change(api, &request, move |settings| {
        settings.tags = (!tags.is_empty()).then(|| tags.clone());
        Ok(())
    })
    .await?;
    Ok(gone(PutBucketTaggingOutput {}))
}

pub async fn delete_bucket_tagging(
    api: &Api,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Answer<DeleteBucketTaggingOutput> {
    change(api, &request, |settings| {
        settings.tags = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketTaggingOutput {}))
}

// --- object lock ---

pub async fn get_object_lock_configuration(
    _: &Api,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Answer<GetObjectLockConfigurationOutput> {
    let bucket = bucket_of(&request)?;
    let lock = bucket.settings.lock.as_ref().ok_or_else(|| {
        let message = "Object Lock configuration does not exist for this bucket";
        Failure::new(S3ErrorCode::ObjectLockConfigurationNotFoundError, message)
    })?;
    let object_lock_configuration = Some(map::lock_told(lock));
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration }))
}

pub async fn put_object_lock_configuration(
    api: &Api,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Answer<PutObjectLockConfigurationOutput> {
    if request.input.token.is_some() {
        return Err(Failure::not_implemented("x-amz-bucket-object-lock-token"));
    }
    let configuration = request.input.object_lock_configuration.clone();
    let configuration = configuration.ok_or_else(|| Failure::malformed_xml("There is no configuration"))?;
    let lock = map::lock_configuration(configuration)?;
    change(api, &request, move |settings| {
        if settings.versioning != Versioning::Enabled {
            let reason = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
            return Err(Refusal::InvalidSettings { reason: reason.to_owned() });
        }
        settings.lock = Some(lock.clone());
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}
