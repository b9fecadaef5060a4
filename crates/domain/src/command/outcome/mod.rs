//! What the reconcile loop reports: the outcome of each step returns as a command.
//!
//! A report that comes twice, or late, about something that has moved on since, changes nothing.

mod binding;
mod cluster;
mod instance;
mod moved;
mod recovery;

pub use binding::{BindingEnded, CredentialApplied, CredentialRefused, CredentialRemoved};
pub use cluster::{
    ClusterDegradation, ClusterFailure, ClusterRecovery, ClusterRemoval, ClusterStart, Reconfigured, StartOutcome,
};
pub use instance::{InstanceFailure, InstanceProvisioned, InstanceRemoved};
pub use moved::{MoveCompleted, MoveFailure};
pub use recovery::{
    BackupDone, BackupExpiry, BackupFailure, ClusterRestoration, DrillDone, OrphanFound, RestoreDone, RestoreFailure,
};
