//! What happens to bindings. The subject is the binding's id. No event holds a password.

use mainstay_types::{ConsumerName, Generation, InstanceId, InstanceName, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// Somebody asked for a consumer's credentials.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRequested {
    #[n(0)]
    pub instance: InstanceName,
    #[n(1)]
    pub instance_id: InstanceId,
    #[n(2)]
    pub consumer: ConsumerName,
    #[n(3)]
    pub lease_seconds: u64,
    #[n(4)]
    pub expires_at: Timestamp,
    /// What its credentials are allowed, as SQL; all that the instance's owner is where there is none.
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<Vec<String>>,
}

/// The first credential works.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingCreated {
    #[n(0)]
    pub instance: InstanceName,
    #[n(1)]
    pub consumer: ConsumerName,
    #[n(2)]
    pub generation: Generation,
    #[n(3)]
    pub valid_until: Timestamp,
}

/// The engine refused to make the credential.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingFailed {
    #[n(0)]
    pub reason: String,
}

/// The lease was extended.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRenewed {
    #[n(0)]
    pub lease_seconds: u64,
    #[n(1)]
    pub expires_at: Timestamp,
}

/// The engine itself now knows until when a credential is valid.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingAdjusted {
    #[n(0)]
    pub generation: Generation,
    #[n(1)]
    pub valid_until: Timestamp,
}

/// Somebody asked for a new credential in place of the present one.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRotationRequested {
    /// The generation that is to be made.
    #[n(0)]
    pub generation: Generation,
    /// How long the present credential goes on working beside the new one.
    #[n(1)]
    pub overlap_seconds: u64,
    /// The generation whose user name it keeps, so that only the password is new; a name of its own where there is none.
    #[n(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Generation>,
}

/// The new credential works; the ones before it are retired at a moment.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRotated {
    #[n(0)]
    pub generation: Generation,
    #[n(1)]
    pub valid_until: Timestamp,
    /// When the credentials before it stop working.
    #[n(2)]
    pub retire_previous_at: Timestamp,
}

/// A credential was not as it should be in the engine, and was brought back.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRepaired {
    #[n(0)]
    pub generation: Generation,
    /// What was found.
    #[n(1)]
    pub cause: String,
}

/// The lease ended; the credentials are being removed.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingExpired {}

/// The credentials are to be removed before the lease ends.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRevocationRequested {
    #[n(0)]
    pub cause: String,
}

/// One credential no longer works and its sessions are ended.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct CredentialRetired {
    #[n(0)]
    pub generation: Generation,
}

/// No credential of the binding works any more.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BindingRevoked {}
