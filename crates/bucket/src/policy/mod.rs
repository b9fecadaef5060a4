//! Bucket policies: the subset of Amazon's that applies here. What is not understood is refused when it is put.

mod action;
mod condition;
mod document;
mod json;
mod pattern;
mod principal;
mod request;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use document::{MalformedPolicy, Policy};
pub use request::{Caller, Context, Decision, Request};

use mainstay_types::InstanceId;

use crate::Settings;

/// Whether a request to a bucket is allowed: its owner may all that its policy does not deny, others what it allows.
///
/// Whatever the policy says, the owner may read, change and remove it: nobody locks himself out.
pub fn allows(settings: &Settings, owner: &InstanceId, request: &Request<'_>) -> bool {
    let owned = matches!(request.caller, Caller::Account { instance, .. } if instance == owner);
    let about_policy =
        matches!(request.action, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy);
    let Some(policy) = &settings.policy else { return owned };
    let restricted = settings.public_access_block.is_some_and(|block| block.restrict_public_buckets);
    match policy.decide(request) {
        _ if owned && about_policy => true,
        Decision::Deny => false,
        Decision::Allow => owned || !(restricted && policy.is_public()),
        Decision::Silent => owned,
    }
}
