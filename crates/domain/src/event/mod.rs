//! Events: what happened, in the words of the journal.

mod binding;
mod cluster;
mod custody;
mod envelope;
mod instance;
mod object;
mod operation;
mod recovery;
mod token;

use mainstay_types::InvalidText;

pub use binding::{
    BindingAdjusted, BindingCreated, BindingExpired, BindingFailed, BindingRenewed, BindingRepaired, BindingRequested,
    BindingRevocationRequested, BindingRevoked, BindingRotated, BindingRotationRequested, CredentialRetired,
};
pub use cluster::{
    ClusterDegraded, ClusterDeleted, ClusterFailed, ClusterReady, ClusterRecovered, ClusterRequested, ClusterRetired,
    EngineReconfigured, EngineRestarted, EngineStarted,
};
pub use custody::{
    CustodyInitialized, CustodyKeyRotated, CustodyRekeyed, CustodyRestored, CustodySealed, CustodyUnsealed,
    CustodyWitnessed,
};
pub use envelope::{Actor, Event, NewEvent, Subject, SubjectKind};
pub use instance::{
    InstanceDeleted, InstanceDeletionRequested, InstanceFailed, InstanceMoveFailed, InstanceMoveRequested,
    InstanceMoved, InstanceReady, InstanceRepaired, InstanceRequested,
};
pub use object::{
    ContentDamaged, Notification, ObjectCreated, ObjectExpired, ObjectRemoved, ObjectTagged, ScrubCompleted,
};
pub use operation::{Idempotency, OperationFailed, OperationKind, OperationStarted, OperationSucceeded};
pub use recovery::{
    AskedAssertion, BackupCompleted, BackupExpired, BackupFailed, BackupOrphaned, ClusterRestored, DrillCheck,
    DrillFailed, DrillPassed, DrillRecord, DrilledPart, DrilledPoint, EvidenceKeyIntroduced, LayerRecovered,
    RecoveryKeyAcknowledged, RecoveryKeyShown, RecoveryPolicyChanged, RestoreCompleted, RestoreFailed,
    RestoreRequested, Until,
};
pub use token::{TokenCreated, TokenRevoked};

/// Why stored bytes are not an event that this version knows.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("event type {0:?} is unknown to this version; a newer version wrote it")]
    UnknownType(String),
    #[error("the payload of {kind} can not be decoded")]
    Payload {
        kind: &'static str,
        #[source]
        source: minicbor::decode::Error,
    },
    #[error("the text in an event is not valid")]
    Text(#[from] InvalidText),
}

/// Defines [`Body`]: one variant, one payload type and one published type name for each event.
macro_rules! bodies {
    ($($variant:ident = $kind:literal,)*) => {
        /// The payload of an event, by its type.
        ///
        /// At rest a payload is canonical CBOR (RFC 8949, section 4.2): arrays of definite length in the order of
        /// the fields, no maps, no floats. A type only ever gains optional fields at its end; what needs more gets
        /// a new type.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body {
            $($variant($variant),)*
        }

        $(impl From<$variant> for Body {
            fn from(payload: $variant) -> Self {
                Self::$variant(payload)
            }
        })*

        impl Body {
            /// Every type name that this version writes.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// The published type name.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// The payload as canonical CBOR.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(payload) => envelope::encoded(payload),)*
                }
            }

            /// The payload of a type, from its CBOR.
            pub fn decode(kind: &str, payload: &[u8]) -> Result<Self, BodyError> {
                match kind {
                    $($kind => minicbor::decode(payload)
                        .map(Self::$variant)
                        .map_err(|source| BodyError::Payload { kind: $kind, source }),)*
                    _ => Err(BodyError::UnknownType(kind.to_owned())),
                }
            }

            /// The payload as it goes over the wire.
            pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self {
                    $(Self::$variant(payload) => serde_json::to_value(payload),)*
                }
            }
        }
    };
}

bodies! {
    InstanceRequested = "v1.instance.requested",
    InstanceReady = "v1.instance.ready",
    InstanceRepaired = "v1.instance.repaired",
    InstanceFailed = "v1.instance.failed",
    InstanceMoveRequested = "v1.instance.move-requested",
    InstanceMoved = "v1.instance.moved",
    InstanceMoveFailed = "v1.instance.move-failed",
    InstanceDeletionRequested = "v1.instance.deletion-requested",
    InstanceDeleted = "v1.instance.deleted",
    ClusterRequested = "v1.cluster.requested",
    ClusterReady = "v1.cluster.ready",
    ClusterDegraded = "v1.cluster.degraded",
    ClusterRecovered = "v1.cluster.recovered",
    ClusterFailed = "v1.cluster.failed",
    ClusterRetired = "v1.cluster.retired",
    ClusterDeleted = "v1.cluster.deleted",
    EngineStarted = "v1.engine.started",
    EngineRestarted = "v1.engine.restarted",
    EngineReconfigured = "v1.engine.reconfigured",
    BindingRequested = "v1.binding.requested",
    BindingCreated = "v1.binding.created",
    BindingFailed = "v1.binding.failed",
    BindingRenewed = "v1.binding.renewed",
    BindingAdjusted = "v1.binding.adjusted",
    BindingRotationRequested = "v1.binding.rotation-requested",
    BindingRotated = "v1.binding.rotated",
    BindingRepaired = "v1.binding.repaired",
    BindingExpired = "v1.binding.expired",
    BindingRevocationRequested = "v1.binding.revocation-requested",
    CredentialRetired = "v1.binding.credential-retired",
    BindingRevoked = "v1.binding.revoked",
    BackupCompleted = "v1.backup.completed",
    BackupFailed = "v1.backup.failed",
    BackupExpired = "v1.backup.expired",
    BackupOrphaned = "v1.backup.orphaned",
    RestoreRequested = "v1.restore.requested",
    RestoreCompleted = "v1.restore.completed",
    RestoreFailed = "v1.restore.failed",
    ClusterRestored = "v1.cluster.restored",
    DrillPassed = "v1.drill.passed",
    DrillFailed = "v1.drill.failed",
    LayerRecovered = "v1.layer.recovered",
    RecoveryPolicyChanged = "v1.recovery.policy-changed",
    RecoveryKeyAcknowledged = "v1.recovery.key-acknowledged",
    RecoveryKeyShown = "v1.recovery.key-shown",
    EvidenceKeyIntroduced = "v1.evidence.key-introduced",
    OperationStarted = "v1.operation.started",
    OperationSucceeded = "v1.operation.succeeded",
    OperationFailed = "v1.operation.failed",
    TokenCreated = "v1.token.created",
    TokenRevoked = "v1.token.revoked",
    CustodyInitialized = "v1.custody.initialized",
    CustodyUnsealed = "v1.custody.unsealed",
    CustodySealed = "v1.custody.sealed",
    CustodyKeyRotated = "v1.custody.key-rotated",
    CustodyRekeyed = "v1.custody.rekeyed",
    CustodyRestored = "v1.custody.restored",
    CustodyWitnessed = "v1.custody.witnessed",
    ObjectCreated = "v1.object.created",
    ObjectRemoved = "v1.object.removed",
    ObjectTagged = "v1.object.tagged",
    ObjectExpired = "v1.object.expired",
    ScrubCompleted = "v1.scrub.completed",
    ContentDamaged = "v1.content.damaged",
}
