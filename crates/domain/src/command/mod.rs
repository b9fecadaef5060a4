//! Commands: what somebody wants, and what the engines report. Each decides, purely, which events follow.

mod acknowledge_recovery_key;
mod back_up_instance;
mod create_binding;
mod create_instance;
mod create_token;
mod delete_binding;
mod delete_instance;
mod introduce_evidence_key;
mod move_instance;
mod outcome;
mod placement;
mod record_custody;
mod record_objects;
mod record_recovery;
mod recoverable;
mod rejection;
mod renew_binding;
mod replace_password;
mod restore_instance;
mod revoke_token;
mod rotate_binding;
mod run_drill;
mod set_recovery_policy;
mod show_recovery_key;

use std::ops::RangeInclusive;
use std::sync::Arc;

use mainstay_types::{Offering, OperationId, TenantName, Timestamp};

use crate::event::{
    Actor, Body, Idempotency, NewEvent, OperationFailed, OperationKind, OperationStarted, OperationSucceeded, Subject,
    SubjectKind,
};
use crate::recovery::Recoverable;
use crate::view::View;

pub use acknowledge_recovery_key::AcknowledgeRecoveryKey;
pub use back_up_instance::BackUpInstance;
pub use create_binding::CreateBinding;
pub use create_instance::CreateInstance;
pub use create_token::CreateToken;
pub use delete_binding::DeleteBinding;
pub use delete_instance::DeleteInstance;
pub use introduce_evidence_key::IntroduceEvidenceKey;
pub use move_instance::MoveInstance;
pub use outcome::{
    BackupDone, BackupExpiry, BackupFailure, BindingEnded, ClusterDegradation, ClusterFailure, ClusterRecovery,
    ClusterRemoval, ClusterRestoration, ClusterStart, CredentialApplied, CredentialRefused, CredentialRemoved,
    DrillDone, InstanceFailure, InstanceProvisioned, InstanceRemoved, MoveCompleted, MoveFailure, OrphanFound,
    Reconfigured, RestoreDone, RestoreFailure, StartOutcome,
};
pub use record_custody::{CustodyChange, RecordCustody};
pub use record_objects::{ObjectChange, RecordObjects, RecordScrub};
pub use record_recovery::RecordRecovery;
pub use rejection::Rejection;
pub use renew_binding::RenewBinding;
pub use replace_password::ReplacePassword;
pub use restore_instance::{NewInstance, RestoreInstance, RestoreTo};
pub use revoke_token::RevokeToken;
pub use rotate_binding::RotateBinding;
pub use run_drill::RunDrill;
pub use set_recovery_policy::SetRecoveryPolicy;
pub use show_recovery_key::ShowRecoveryKey;

/// The lease of a binding whose consumer names none: 32 days.
pub const DEFAULT_LEASE_SECONDS: u64 = 768 * 3600;
/// The longest lease, and the longest life of a token: a year. A credential nobody renews should not outlive its use.
pub const MAX_LEASE_SECONDS: u64 = 366 * 24 * 3600;
/// How long an old credential works beside the new one where the caller does not say: an hour, time enough for a
/// consumer's processes to be restarted one after the other.
pub const DEFAULT_OVERLAP_SECONDS: u64 = 3600;

/// The most statements that a binding may have: a grant for each of a few hundred tables is written as one statement.
pub const MAX_STATEMENTS: usize = 100;
/// The most bytes that a binding's statements may have together. They are in an event, and in the view as long as the
/// binding lives.
pub const MAX_STATEMENTS_BYTES: usize = 16 << 10;

/// Every code that an operation can fail with; each has its paragraph in `docs/errors.md`.
pub const FAILURE_CODES: &[&str] = &[
    "cluster_failed",
    "instance_failed",
    "instance_deleting",
    "move_failed",
    "backup_failed",
    "restore_failed",
    "drill_failed",
    "binding_failed",
    "binding_expired",
    "binding_not_ready",
];

/// What a decision may know besides the view.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: Timestamp,
    pub actor: Actor,
    pub offerings: Arc<[Offering]>,
    pub recovery: Arc<Recoverable>,
    /// The ports that dedicated clusters are given.
    pub dedicated_ports: RangeInclusive<u16>,
}

/// What follows from a command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    pub events: Vec<NewEvent>,
    /// The operation that does the work: started by this command, or by the one that it repeats.
    pub operation: Option<OperationId>,
}

/// Defines [`Command`] and its dispatch.
macro_rules! commands {
    ($($variant:ident,)*) => {
        /// Everything that can change the state of the layer.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($variant($variant),)*
        }

        $(impl From<$variant> for Command {
            fn from(command: $variant) -> Self {
                Self::$variant(command)
            }
        })*

        impl Command {
            /// The events that follow from this command on this view. An accepted command that changes nothing,
            /// because what it wants or reports is so already, yields none.
            pub fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
                match self {
                    $(Self::$variant(command) => command.decide(view, context),)*
                }
            }
        }
    };
}

commands! {
    CreateInstance,
    MoveInstance,
    BackUpInstance,
    RestoreInstance,
    RunDrill,
    SetRecoveryPolicy,
    AcknowledgeRecoveryKey,
    ShowRecoveryKey,
    IntroduceEvidenceKey,
    RecordRecovery,
    DeleteInstance,
    CreateBinding,
    RotateBinding,
    ReplacePassword,
    RenewBinding,
    DeleteBinding,
    CreateToken,
    RevokeToken,
    RecordCustody,
    RecordObjects,
    RecordScrub,
    ClusterStart,
    ClusterDegradation,
    ClusterRecovery,
    ClusterFailure,
    ClusterRemoval,
    Reconfigured,
    InstanceProvisioned,
    InstanceFailure,
    InstanceRemoved,
    MoveCompleted,
    MoveFailure,
    BackupDone,
    BackupFailure,
    BackupExpiry,
    OrphanFound,
    ClusterRestoration,
    RestoreDone,
    RestoreFailure,
    DrillDone,
    CredentialApplied,
    CredentialRefused,
    CredentialRemoved,
    BindingEnded,
}

/// Who asks for long work, and under which ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The operation's id, freshly drawn.
    pub operation: OperationId,
    pub idempotency: Option<Idempotency>,
}

impl Request {
    /// The decision that a repeated request gets: the operation of the first one.
    fn replayed(&self, view: &View, tenant: &TenantName) -> Result<Option<Decision>, Rejection> {
        if view.operation(&self.operation).is_some() {
            return Err(Rejection::IdTaken);
        }
        let Some(idempotency) = &self.idempotency else { return Ok(None) };
        match view.operation_by_key(tenant, &idempotency.key) {
            None => Ok(None),
            Some(operation) if operation.idempotency.as_ref() == Some(idempotency) => {
                Ok(Some(Decision { events: Vec::new(), operation: Some(operation.id.clone()) }))
            }
            Some(_) => Err(Rejection::IdempotencyKeyReused { key: idempotency.key.clone() }),
        }
    }

    /// The decision to begin work with these events, the operation's own first.
    fn begin(
        &self,
        context: &Context,
        tenant: &TenantName,
        kind: OperationKind,
        subject: Subject,
        events: Vec<NewEvent>,
    ) -> Decision {
        let started = OperationStarted { kind, subject, idempotency: self.idempotency.clone() };
        let mut all =
            vec![context.event(Some(tenant.clone()), Subject::new(SubjectKind::Operation, &self.operation), started)];
        all.extend(events);
        Decision { events: all, operation: Some(self.operation.clone()) }
    }
}

impl Context {
    fn event(&self, tenant: Option<TenantName>, subject: Subject, body: impl Into<Body>) -> NewEvent {
        NewEvent { tenant, actor: self.actor.clone(), subject, body: body.into() }
    }

    /// The events that end the operations of a kind on a subject.
    fn finish(
        &self,
        view: &View,
        tenant: &TenantName,
        subject: &Subject,
        kind: OperationKind,
        failure: Option<(&'static str, &str)>,
    ) -> Vec<NewEvent> {
        debug_assert!(failure.is_none_or(|(code, _)| FAILURE_CODES.contains(&code)), "{failure:?}");
        let body: Body = match failure {
            None => OperationSucceeded::default().into(),
            Some((code, detail)) => OperationFailed { code: code.to_owned(), detail: detail.to_owned() }.into(),
        };
        self.finish_with(view, tenant, subject, kind, &body)
    }

    /// Ends the operations of a kind on a subject in this way.
    fn finish_with(
        &self,
        view: &View,
        tenant: &TenantName,
        subject: &Subject,
        kind: OperationKind,
        body: &Body,
    ) -> Vec<NewEvent> {
        let end = |operation: &Arc<crate::view::Operation>| {
            self.event(Some(tenant.clone()), Subject::new(SubjectKind::Operation, &operation.id), body.clone())
        };
        view.active_operations(tenant, subject).filter(|operation| operation.kind == kind).map(end).collect()
    }
}

impl Decision {
    /// The decision that nothing is to be done.
    fn nothing() -> Self {
        Self::default()
    }

    /// The decision that these events follow, without an operation.
    fn of(events: Vec<NewEvent>) -> Self {
        Self { events, operation: None }
    }
}
