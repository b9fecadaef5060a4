//! What happens to operations. The subject is the operation's id.

use mainstay_types::Digest;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::Subject;

/// Long work began because somebody asked for it.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct OperationStarted {
    #[n(0)]
    pub kind: OperationKind,
    /// What the work is done to.
    #[n(1)]
    pub subject: Subject,
    #[n(2)]
    pub idempotency: Option<Idempotency>,
}

/// What the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    #[n(0)]
    CreateInstance,
    #[n(1)]
    DeleteInstance,
    #[n(2)]
    CreateBinding,
    #[n(3)]
    RotateBinding,
    #[n(4)]
    DeleteBinding,
    #[n(5)]
    MoveInstance,
    #[n(6)]
    CreateBackup,
    #[n(7)]
    RestoreInstance,
    #[n(8)]
    RunDrill,
}

/// What makes a repeated request the same request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Idempotency {
    /// The key that the caller chose.
    #[n(0)]
    pub key: String,
    /// BLAKE3 of what was asked for, so that one key is not used for two requests.
    #[n(1)]
    pub fingerprint: Digest,
}

/// The work was done.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode, Serialize)]
pub struct OperationSucceeded {
    /// What came of it, where that needs saying.
    #[n(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The work can not be done.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct OperationFailed {
    /// A stable code, as in a problem document.
    #[n(0)]
    pub code: String,
    /// What is wrong and what to do.
    #[n(1)]
    pub detail: String,
}
