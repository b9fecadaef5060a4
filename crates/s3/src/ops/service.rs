//! The table of operations. What is not in it answers `NotImplemented`.

use async_trait::async_trait;
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::{
    Api, access_control, bucket_settings, buckets, copy, delete, form, get, id_of, list, multipart, object_settings,
    put,
};

macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident: $module:ident;)*) => {
        #[async_trait]
        impl S3 for Api {
            $(async fn $name(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                let id = id_of(&request);
                $module::$name(self, request).await.map_err(|failure| {
                    failure.log(stringify!($name), id);
                    failure.into_s3()
                })
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput: buckets;
    create_bucket(CreateBucketInput) -> CreateBucketOutput: buckets;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput: buckets;
    head_bucket(HeadBucketInput) -> HeadBucketOutput: buckets;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput: buckets;

    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput: bucket_settings;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput: bucket_settings;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput: bucket_settings;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput: bucket_settings;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput: bucket_settings;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput: bucket_settings;
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput: bucket_settings;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput: bucket_settings;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput: bucket_settings;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
        -> PutBucketLifecycleConfigurationOutput: bucket_settings;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput: bucket_settings;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput: bucket_settings;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput: bucket_settings;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput: bucket_settings;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput: bucket_settings;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput: bucket_settings;
    get_object_lock_configuration(GetObjectLockConfigurationInput)
        -> GetObjectLockConfigurationOutput: bucket_settings;
    put_object_lock_configuration(PutObjectLockConfigurationInput)
        -> PutObjectLockConfigurationOutput: bucket_settings;

    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput: access_control;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput: access_control;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput: access_control;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput: access_control;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput: access_control;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput: access_control;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput: access_control;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
        -> GetBucketOwnershipControlsOutput: access_control;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput)
        -> PutBucketOwnershipControlsOutput: access_control;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput)
        -> DeleteBucketOwnershipControlsOutput: access_control;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput: access_control;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput: access_control;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput: access_control;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput: access_control;

    list_objects(ListObjectsInput) -> ListObjectsOutput: list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output: list;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput: list;

    get_object(GetObjectInput) -> GetObjectOutput: get;
    head_object(HeadObjectInput) -> HeadObjectOutput: get;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput: get;
    put_object(PutObjectInput) -> PutObjectOutput: put;
    post_object(PostObjectInput) -> PostObjectOutput: form;
    copy_object(CopyObjectInput) -> CopyObjectOutput: copy;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput: delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput: delete;

    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput: object_settings;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput: object_settings;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput: object_settings;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput: object_settings;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput: object_settings;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput: object_settings;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput: object_settings;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput: multipart;
    upload_part(UploadPartInput) -> UploadPartOutput: multipart;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput: copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput: multipart;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput: multipart;
    list_parts(ListPartsInput) -> ListPartsOutput: multipart;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput: multipart;
}
