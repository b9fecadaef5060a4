//! Whose something is.

use mainstay_types::InstanceId;
use s3s::dto::{Initiator, Owner};

/// The instance that a bucket belongs to.
pub fn owner(account: &InstanceId) -> Owner {
    Owner { display_name: Some(account.to_string()), id: Some(account.to_string()) }
}

/// The instance that began an upload.
pub fn initiator(account: &InstanceId) -> Initiator {
    Initiator { display_name: Some(account.to_string()), id: Some(account.to_string()) }
}
