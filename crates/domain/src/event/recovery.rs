//! What happens to backups, and to what is brought back from them. The subject is the instance, where nothing else is said.

use mainstay_types::{BackupId, ClusterName, EngineName, InstanceId, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// A backup is whole and durable.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupCompleted {
    #[n(0)]
    pub backup: BackupId,
    /// The cluster that was backed up, or that the instance lived on.
    #[n(1)]
    pub cluster: ClusterName,
    /// The one instance that is in it; none where the whole cluster is.
    #[n(2)]
    pub instance: Option<InstanceId>,
    #[n(3)]
    pub engine: EngineName,
    /// Of the engine.
    #[n(4)]
    pub version: String,
    #[n(5)]
    pub began_at: Timestamp,
    /// The earliest moment that it restores; without a log, the only one.
    #[n(6)]
    pub ended_at: Timestamp,
    /// What was read.
    #[n(7)]
    pub bytes: u64,
    /// What is not in it although one could think so.
    #[n(8)]
    pub uncovered: Vec<String>,
}

/// A backup did not come about.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupFailed {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub reason: String,
}

/// A backup is not kept any longer. The subject is the backup.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupExpired {
    #[n(0)]
    pub backup: BackupId,
}

/// The moment that is wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The end of the backup.
    #[n(0)]
    Backup,
    /// The newest there is.
    #[n(1)]
    Latest,
    #[n(2)]
    Time(#[n(0)] Timestamp),
}

/// Somebody asked for an instance to be what it, or another one, was.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct RestoreRequested {
    #[n(0)]
    pub instance: InstanceId,
    /// The instance whose data it gets: itself, or the one that it is restored from.
    #[n(1)]
    pub origin: InstanceId,
    #[n(2)]
    pub backup: BackupId,
    #[n(3)]
    pub until: Until,
    /// Whether its whole cluster is laid out anew, because that can not be made to serve any more.
    #[n(4)]
    pub whole_cluster: bool,
}

/// The instance is what it was.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct RestoreCompleted {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub backup: BackupId,
    /// The newest change that is in it.
    #[n(2)]
    pub newest: Timestamp,
    #[n(3)]
    pub duration_milliseconds: u64,
}

/// The instance could not be brought back. It is what it was before.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct RestoreFailed {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub reason: String,
}

/// A cluster was laid out anew from a backup, and serves. The subject is the cluster.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterRestored {
    #[n(0)]
    pub identity: String,
    #[n(1)]
    pub version: String,
    /// The newest change that is in it.
    #[n(2)]
    pub newest: Timestamp,
}

/// Something that a drill has looked at.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrillCheck {
    #[n(0)]
    pub name: String,
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[n(2)]
    pub seen: String,
}

/// The newest recovery point was restored into a scratch cluster and is well.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrillPassed {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub backup: BackupId,
    #[n(2)]
    pub began_at: Timestamp,
    /// From its beginning to the first question that was answered.
    #[n(3)]
    pub recovery_time_milliseconds: u64,
    /// From the newest change that came back to the drill's beginning.
    #[n(4)]
    pub loss_milliseconds: u64,
    #[n(5)]
    pub checks: Vec<DrillCheck>,
}

/// The newest recovery point can not be relied on.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrillFailed {
    #[n(0)]
    pub instance: InstanceId,
    /// None where there was none to restore.
    #[n(1)]
    pub backup: Option<BackupId>,
    #[n(2)]
    pub began_at: Timestamp,
    #[n(3)]
    pub reason: String,
    #[n(4)]
    pub checks: Vec<DrillCheck>,
}

/// Something that has to be true of an instance's data, for its drills to look at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Assertion {
    /// In the engine's own language.
    #[n(0)]
    pub query: String,
    /// What it has to answer.
    #[n(1)]
    pub expect: String,
}

/// An instance is to be backed up and drilled otherwise. What is none is the layer's default.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode, Serialize)]
pub struct RecoveryPolicyChanged {
    #[n(0)]
    pub backup_every_seconds: Option<u64>,
    #[n(1)]
    pub drill_every_seconds: Option<u64>,
    #[n(2)]
    pub keep_last: Option<u32>,
    #[n(3)]
    pub keep_daily: Option<u32>,
    #[n(4)]
    pub keep_weekly: Option<u32>,
    #[n(5)]
    pub keep_monthly: Option<u32>,
    #[n(6)]
    pub assertions: Vec<Assertion>,
}

/// Somebody has said that the recovery key is kept in a safe place. The subject is the layer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct RecoveryKeyAcknowledged {}

/// Somebody was given the recovery key. The subject is the layer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct RecoveryKeyShown {
    /// Into how many shares it was split; none where it was given whole.
    #[n(0)]
    pub shares: Option<u8>,
}
