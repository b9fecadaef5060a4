//! Who may use a bucket: policies, and what is left of ACLs.

use hyper::http::StatusCode;
use mainstay_bucket::{Ownership, Policy, PublicAccessBlock};
use mainstay_types::InstanceId;
use s3s::dto::{
    AccessControlPolicy, DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput,
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput,
    GetBucketAclInput, GetBucketAclOutput, GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput,
    GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput,
    GetObjectAclInput, GetObjectAclOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput, Grant, Grantee,
    ObjectOwnership, OwnershipControls, OwnershipControlsRule, Permission, PolicyStatus,
    PublicAccessBlockConfiguration, PutBucketAclInput, PutBucketAclOutput, PutBucketOwnershipControlsInput,
    PutBucketOwnershipControlsOutput, PutBucketPolicyInput, PutBucketPolicyOutput, PutObjectAclInput,
    PutObjectAclOutput, PutPublicAccessBlockInput, PutPublicAccessBlockOutput, Type,
};
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::bucket_settings::{change, gone};
use super::{Answer, Api, bucket_of, key_of, version_of};
use crate::error::{Failure, Result};
use crate::map;
use crate::refuse::no_acls;

// --- policies ---

fn no_policy() -> Failure {
    Failure::new(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist")
}

pub async fn get_bucket_policy(_: &Api, request: S3Request<GetBucketPolicyInput>) -> Answer<GetBucketPolicyOutput> {
    let bucket = bucket_of(&request)?;
    let policy = bucket.settings.policy.as_ref().ok_or_else(no_policy)?;
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy.as_str().to_owned()) }))
}

pub async fn put_bucket_policy(api: &Api, request: S3Request<PutBucketPolicyInput>) -> Answer<PutBucketPolicyOutput> {
    let bucket = bucket_of(&request)?;
    let policy = Policy::parse(&request.input.policy, &bucket.name)?;
    let blocked = bucket.settings.public_access_block.is_some_and(|block| block.block_public_policy);
    if blocked && policy.is_public() {
        return Err(Failure::denied());
    }
    change(api, &request, move |settings| {
        settings.policy = Some(policy.clone());
        Ok(())
    })
    .await?;
    Ok(gone(PutBucketPolicyOutput {}))
}

pub async fn delete_bucket_policy(
    api: &Api,
    request: S3Request<DeleteBucketPolicyInput>,
) -> Answer<DeleteBucketPolicyOutput> {
    change(api, &request, |settings| {
        settings.policy = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketPolicyOutput {}))
}

pub async fn get_bucket_policy_status(
    _: &Api,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> Answer<GetBucketPolicyStatusOutput> {
    let bucket = bucket_of(&request)?;
    let restricted = bucket.settings.public_access_block.is_some_and(|block| block.restrict_public_buckets);
    let public = bucket.settings.policy.as_ref().is_some_and(Policy::is_public) && !restricted;
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(public) }) }))
}

// --- public access ---

pub async fn get_public_access_block(
    _: &Api,
    request: S3Request<GetPublicAccessBlockInput>,
) -> Answer<GetPublicAccessBlockOutput> {
    let bucket = bucket_of(&request)?;
    let block = bucket.settings.public_access_block.ok_or_else(|| {
        let message = "The public access block configuration was not found";
        Failure::custom("NoSuchPublicAccessBlockConfiguration", StatusCode::NOT_FOUND, message)
    })?;
    Ok(S3Response::new(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            ignore_public_acls: Some(block.ignore_public_acls),
            block_public_policy: Some(block.block_public_policy),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        }),
    }))
}

pub async fn put_public_access_block(
    api: &Api,
    request: S3Request<PutPublicAccessBlockInput>,
) -> Answer<PutPublicAccessBlockOutput> {
    let said = &request.input.public_access_block_configuration;
    let block = PublicAccessBlock {
        block_public_acls: said.block_public_acls.unwrap_or_default(),
        ignore_public_acls: said.ignore_public_acls.unwrap_or_default(),
        block_public_policy: said.block_public_policy.unwrap_or_default(),
        restrict_public_buckets: said.restrict_public_buckets.unwrap_or_default(),
    };
    change(api, &request, move |settings| {
        settings.public_access_block = Some(block);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput {}))
}

pub async fn delete_public_access_block(
    api: &Api,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> Answer<DeletePublicAccessBlockOutput> {
    change(api, &request, |settings| {
        settings.public_access_block = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeletePublicAccessBlockOutput {}))
}

// --- ownership ---

pub async fn get_bucket_ownership_controls(
    _: &Api,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> Answer<GetBucketOwnershipControlsOutput> {
    let bucket = bucket_of(&request)?;
    if bucket.settings.ownership.is_none() {
        let message = "The bucket ownership controls were not found";
        return Err(Failure::new(S3ErrorCode::OwnershipControlsNotFoundError, message));
    }
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let controls = OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] };
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) }))
}

pub async fn put_bucket_ownership_controls(
    api: &Api,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> Answer<PutBucketOwnershipControlsOutput> {
    let rules = &request.input.ownership_controls.rules;
    let [rule] = rules.as_slice() else { return Err(Failure::malformed_xml("There is one rule")) };
    if rule.object_ownership.as_str() != ObjectOwnership::BUCKET_OWNER_ENFORCED {
        return Err(no_acls());
    }
    change(api, &request, |settings| {
        settings.ownership = Some(Ownership::BucketOwnerEnforced);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
}

pub async fn delete_bucket_ownership_controls(
    api: &Api,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> Answer<DeleteBucketOwnershipControlsOutput> {
    change(api, &request, |settings| {
        settings.ownership = None;
        Ok(())
    })
    .await?;
    Ok(gone(DeleteBucketOwnershipControlsOutput {}))
}

// --- ACLs, of which there is one: the owner may all ---

fn owners_grant(owner: &InstanceId) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: Some(owner.to_string()),
        id: Some(owner.to_string()),
        email_address: None,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Permission::from_static(Permission::FULL_CONTROL);
    vec![Grant { grantee: Some(grantee), permission: Some(permission) }]
}

/// Whether a list that is put is the one that there is.
fn check(policy: Option<&AccessControlPolicy>, owner: &InstanceId) -> Result<()> {
    // Canned lists and grants in headers were looked at before.
    let Some(policy) = policy else { return Ok(()) };
    let grants = policy.grants.as_deref().unwrap_or_default();
    let same = |grant: &Grant| {
        let whose = grant.grantee.as_ref().and_then(|grantee| grantee.id.as_deref());
        let what = grant.permission.as_ref().map(Permission::as_str);
        whose == Some(owner.as_str()) && what == Some(Permission::FULL_CONTROL)
    };
    if grants.iter().all(same) { Ok(()) } else { Err(no_acls()) }
}

pub async fn get_bucket_acl(_: &Api, request: S3Request<GetBucketAclInput>) -> Answer<GetBucketAclOutput> {
    let owner = &bucket_of(&request)?.account;
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(owners_grant(owner)), owner: Some(map::owner(owner)) }))
}

pub async fn put_bucket_acl(_: &Api, request: S3Request<PutBucketAclInput>) -> Answer<PutBucketAclOutput> {
    check(request.input.access_control_policy.as_ref(), &bucket_of(&request)?.account)?;
    Ok(S3Response::new(PutBucketAclOutput {}))
}

pub async fn get_object_acl(api: &Api, request: S3Request<GetObjectAclInput>) -> Answer<GetObjectAclOutput> {
    let bucket = bucket_of(&request)?;
    let version = version_of(request.input.version_id.as_deref())?;
    api.objects.head(&bucket.name, &key_of(&request.input.key)?, version.as_ref()).await?;
    let owner = &bucket.account;
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(owners_grant(owner)),
        owner: Some(map::owner(owner)),
        request_charged: None,
    }))
}

pub async fn put_object_acl(api: &Api, request: S3Request<PutObjectAclInput>) -> Answer<PutObjectAclOutput> {
    let bucket = bucket_of(&request)?;
    let version = version_of(request.input.version_id.as_deref())?;
    api.objects.head(&bucket.name, &key_of(&request.input.key)?, version.as_ref()).await?;
    check(request.input.access_control_policy.as_ref(), &bucket.account)?;
    Ok(S3Response::new(PutObjectAclOutput { request_charged: None }))
}
