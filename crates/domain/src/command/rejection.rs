//! Why a command is refused, in words for whoever sent it.

use mainstay_types::{
    BackupId, BindingId, ContractRef, EngineName, InstanceName, Plan, TenantScope, Timestamp, TokenId,
};

use crate::view::VisibleState;

/// Why a command is refused. The text says what, to what and why; [`Rejection::remedy`] what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("no instance is called {name}")]
    InstanceNotFound { name: InstanceName },
    #[error("an instance called {name} exists already")]
    InstanceExists { name: InstanceName },
    #[error("instance {name} is being deleted")]
    InstanceDeleting { name: InstanceName },
    #[error("instance {name} has failed: {reason}")]
    InstanceFailed { name: InstanceName, reason: String },
    #[error("instance {name} is {state}")]
    InstanceNotReady { name: InstanceName, state: VisibleState },
    #[error("instance {name} is being moved to another cluster")]
    InstanceMoving { name: InstanceName },
    #[error("instance {name} is being restored")]
    InstanceRestoring { name: InstanceName },
    #[error("there is nothing that instance {name} could be restored from")]
    NoRecoveryPoint { name: InstanceName },
    #[error("no backup of the instance has the id {id}")]
    BackupNotFound { id: BackupId },
    #[error("instance {name} can not be restored to {wanted}")]
    TimeUnreachable {
        name: InstanceName,
        wanted: Timestamp,
        earliest: Option<Timestamp>,
        latest: Option<Timestamp>,
        /// Whether every moment from the earliest backup on can be had.
        has_log: bool,
    },
    #[error("what engine {engine} keeps for instance {name} can not be backed up")]
    NotRecoverable { name: InstanceName, engine: EngineName },
    #[error("there is no repository to keep backups in")]
    NoRepository,
    #[error("{field} of the recovery policy is not possible")]
    InvalidRecoveryPolicy { field: &'static str, expected: String },
    #[error("instance {name} can not be moved so: {reason}")]
    MoveImpossible { name: InstanceName, field: &'static str, reason: String, remedy: String },
    #[error("instance {name} has {count} live binding{}", if *count == 1 { "" } else { "s" })]
    InstanceHasBindings { name: InstanceName, count: usize },
    #[error("contract {contract} is not offered here")]
    UnknownContract { contract: ContractRef, known: Vec<ContractRef> },
    #[error("engine {engine} does not fulfil {contract} here")]
    UnknownEngine { engine: EngineName, contract: ContractRef, known: Vec<EngineName> },
    #[error("engine {engine} does not offer plan {plan}")]
    UnknownPlan { plan: Plan, engine: EngineName, known: Vec<Plan> },
    #[error("engine {engine} with plan {plan} has no parameter {name:?}")]
    UnknownParameter { name: String, engine: EngineName, plan: Plan, known: Vec<&'static str> },
    #[error("parameter {name} can not be {value:?}")]
    InvalidParameter { name: String, value: String, expected: String },
    #[error("no port is free for a dedicated cluster")]
    PortsExhausted { first: u16, last: u16 },
    #[error("no binding has the id {id}")]
    BindingNotFound { id: BindingId },
    #[error("binding {id} is {state}")]
    BindingNotReady { id: BindingId, state: &'static str },
    #[error("a lease of {seconds} seconds is not possible")]
    InvalidLease { seconds: u64 },
    #[error("an overlap of {seconds} seconds is not possible")]
    InvalidOverlap { seconds: u64 },
    #[error("{count} statements of together {bytes} bytes are too many")]
    StatementsTooLong { count: usize, bytes: usize },
    #[error("idempotency key {key:?} was used for another request")]
    IdempotencyKeyReused { key: String },
    #[error("no token has the id {id}")]
    TokenNotFound { id: TokenId },
    #[error("a token of tenant {own} can not make one for tenant {wanted}")]
    TenantForbidden { own: TenantScope, wanted: TenantScope },
    #[error("the id drawn for this request is taken")]
    IdTaken,
}

/// Defines [`Rejection::code`] and the list of all codes.
macro_rules! codes {
    ($($variant:ident = $code:literal,)*) => {
        impl Rejection {
            /// Every code of a refusal.
            pub const CODES: &'static [&'static str] = &[$($code,)*];

            /// The stable code that programs go by; each has its paragraph in `docs/errors.md`.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }
        }
    };
}

codes! {
    InstanceNotFound = "instance_not_found",
    InstanceExists = "instance_exists",
    InstanceDeleting = "instance_deleting",
    InstanceFailed = "instance_failed",
    InstanceNotReady = "instance_not_ready",
    InstanceMoving = "instance_moving",
    InstanceRestoring = "instance_restoring",
    NoRecoveryPoint = "recovery_point_missing",
    BackupNotFound = "backup_not_found",
    TimeUnreachable = "time_unreachable",
    NotRecoverable = "not_recoverable",
    NoRepository = "repository_missing",
    InvalidRecoveryPolicy = "recovery_policy_invalid",
    MoveImpossible = "move_impossible",
    InstanceHasBindings = "instance_has_bindings",
    UnknownContract = "contract_unknown",
    UnknownEngine = "engine_unknown",
    UnknownPlan = "plan_unknown",
    UnknownParameter = "parameter_unknown",
    InvalidParameter = "parameter_invalid",
    PortsExhausted = "ports_exhausted",
    BindingNotFound = "binding_not_found",
    BindingNotReady = "binding_not_ready",
    InvalidLease = "lease_invalid",
    InvalidOverlap = "overlap_invalid",
    StatementsTooLong = "statements_too_long",
    IdempotencyKeyReused = "idempotency_key_reused",
    TokenNotFound = "token_not_found",
    TenantForbidden = "tenant_forbidden",
    IdTaken = "id_taken",
}

impl Rejection {
    /// The field of the request that is at fault, where one is.
    pub fn field(&self) -> Option<String> {
        match self {
            Self::InstanceExists { .. } => Some("name".to_owned()),
            Self::UnknownContract { .. } => Some("contract".to_owned()),
            Self::UnknownEngine { .. } => Some("engine".to_owned()),
            Self::UnknownPlan { .. } => Some("plan".to_owned()),
            Self::UnknownParameter { name, .. } | Self::InvalidParameter { name, .. } => {
                Some(format!("parameters.{name}"))
            }
            Self::InvalidLease { .. } => Some("ttl".to_owned()),
            Self::InvalidOverlap { .. } => Some("overlap".to_owned()),
            Self::StatementsTooLong { .. } => Some("statements".to_owned()),
            Self::TenantForbidden { .. } => Some("tenant".to_owned()),
            Self::TimeUnreachable { .. } | Self::BackupNotFound { .. } => Some("at".to_owned()),
            Self::InvalidRecoveryPolicy { field, .. } => Some((*field).to_owned()),
            Self::MoveImpossible { field, .. } => Some((*field).to_owned()),
            _ => None,
        }
    }

    /// What to do instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::InstanceNotFound { .. } => "see which there are with: mainstay list".to_owned(),
            Self::InstanceExists { name } => {
                format!("choose another name, or see what it is with: mainstay get {name}")
            }
            Self::InstanceDeleting { .. } => "wait until it is gone and try again".to_owned(),
            Self::InstanceFailed { name, .. } => {
                format!("mend the cause, or delete it with: mainstay delete {name}")
            }
            Self::InstanceNotReady { name, .. } => {
                format!("wait until it is ready; why it is not tells: mainstay get {name}")
            }
            Self::InstanceMoving { .. } => "wait until it has moved and try again; see: mainstay operations".to_owned(),
            Self::InstanceRestoring { .. } => {
                "wait until it is restored and try again; see: mainstay operations".to_owned()
            }
            Self::NoRecoveryPoint { name } => format!("back it up first with: mainstay backup {name}"),
            Self::BackupNotFound { .. } => "see which there are with: mainstay backups INSTANCE".to_owned(),
            Self::TimeUnreachable { earliest: Some(earliest), has_log: true, .. } => {
                format!("use a time from {earliest} on, the end of the oldest backup")
            }
            Self::TimeUnreachable { earliest: Some(earliest), latest: Some(latest), .. } => format!(
                "its engine keeps no log, so that only backups can be had, from {earliest} to {latest}: see mainstay backups, and use an id"
            ),
            Self::TimeUnreachable { .. } => "back it up first".to_owned(),
            Self::NotRecoverable { .. } => "copy what is in it with the engine's own tools".to_owned(),
            Self::NoRepository => "name one with Recovery:Repository, a directory or a URL, and start anew".to_owned(),
            Self::InvalidRecoveryPolicy { expected, .. } => format!("it takes {expected}"),
            Self::MoveImpossible { remedy, .. } => remedy.clone(),
            Self::InstanceHasBindings { name, .. } => format!(
                "see them with: mainstay bindings {name}, unbind them, or revoke them with it: mainstay delete {name} --force"
            ),
            Self::UnknownContract { known, .. } => format!("use one of: {}", list(known)),
            Self::UnknownEngine { known, .. } => format!("use one of: {}", list(known)),
            Self::UnknownPlan { known, .. } => format!("use one of: {}", list(known)),
            Self::UnknownParameter { known, .. } if known.is_empty() => "it takes none".to_owned(),
            Self::UnknownParameter { known, .. } => format!("use one of: {}", list(known)),
            Self::InvalidParameter { expected, .. } => format!("it takes {expected}"),
            Self::PortsExhausted { first, last } => format!(
                "ports {first} to {last} are allocated or busy; delete a dedicated instance, or begin the range elsewhere with Listen:DedicatedPorts"
            ),
            Self::BindingNotFound { .. } => "see which there are with: mainstay bindings INSTANCE".to_owned(),
            Self::BindingNotReady { .. } => "wait until it is ready, or make another binding".to_owned(),
            Self::InvalidLease { .. } => format!("use 1 to {} seconds", super::MAX_LEASE_SECONDS),
            Self::InvalidOverlap { .. } => format!("use 0 to {} seconds", super::MAX_LEASE_SECONDS),
            Self::StatementsTooLong { .. } => format!(
                "use at most {} statements of together {} bytes; a role of the database can hold the grants",
                super::MAX_STATEMENTS,
                super::MAX_STATEMENTS_BYTES
            ),
            Self::IdempotencyKeyReused { .. } => "use a new key for each new request".to_owned(),
            Self::TokenNotFound { .. } => "see which there are with: mainstay token list".to_owned(),
            Self::TenantForbidden { .. } => "use a token whose tenant is *".to_owned(),
            Self::IdTaken => "send the request again".to_owned(),
        }
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
