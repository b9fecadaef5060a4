//! What happens to backups, and to what is brought back from them. The subject is the instance, where nothing else is said.

use mainstay_types::{
    Assertion, BackupId, ClusterName, ContractRef, Digest, EngineName, InstanceId, Sequence, Timestamp,
};
use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

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
    /// The newest event when it was whole. Backups are put in order by it: the clock may have been wrong. None in events of versions
    /// that did not say.
    #[n(9)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Sequence>,
}

/// A backup did not come about.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupFailed {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub reason: String,
    /// By the clock, which the journal's own time does not follow back. None in events of versions that did not say.
    #[n(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A backup is not kept any longer. The subject is the backup.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupExpired {
    #[n(0)]
    pub backup: BackupId,
}

/// A backup is in the repository that the journal knows nothing of, and nobody's who is there. It goes a month from now. The subject is
/// the backup.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct BackupOrphaned {
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
    /// What was lost of what had been kept, and why, where that is known.
    #[n(3)]
    pub lost: Option<String>,
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
    /// None in events of versions that kept no record.
    #[n(6)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<DrillRecord>>,
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
    /// None in events of versions that kept no record.
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<DrillRecord>>,
}

/// What evidence of a drill says beside its outcome, as it was then: backups expire, and instances change.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrillRecord {
    /// Of Mainstay.
    #[n(0)]
    pub version: String,
    #[n(1)]
    pub contract: ContractRef,
    #[n(2)]
    pub engine: EngineName,
    /// What was restored, where there was something.
    #[n(3)]
    pub point: Option<DrilledPoint>,
    /// What was measured, of a drill that failed as well.
    #[n(4)]
    pub recovery_time_milliseconds: Option<u64>,
    /// The newest change that came back.
    #[n(5)]
    pub newest: Option<Timestamp>,
    #[n(6)]
    pub assertions: Vec<AskedAssertion>,
}

/// A recovery point that a drill has restored.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrilledPoint {
    /// Of the engine that the backup was taken from.
    #[n(0)]
    pub engine_version: String,
    #[n(1)]
    pub began_at: Timestamp,
    #[n(2)]
    pub ended_at: Timestamp,
    /// The first of its parts.
    #[n(3)]
    pub parts: Vec<DrilledPart>,
    /// How many it has; none where it could not be read which.
    #[n(4)]
    pub parts_total: Option<u64>,
}

/// A part of a recovery point.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct DrilledPart {
    #[n(0)]
    pub name: String,
    /// Where it is kept: its BLAKE3.
    #[n(1)]
    pub address: Digest,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "hexadecimal")]
    pub sha256: [u8; 32],
}

/// What an owner asserted, and what came of it.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct AskedAssertion {
    #[n(0)]
    pub assertion: Assertion,
    /// None where nobody could ask.
    #[n(1)]
    pub met: Option<bool>,
}

/// Evidence of drills is signed with this key from now on. The subject is the layer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct EvidenceKeyIntroduced {
    /// Counts the keys, from 1.
    #[n(0)]
    pub number: u32,
    /// Of Ed25519; its private half is in custody.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "hexadecimal")]
    pub public_key: [u8; 32],
}

fn hexadecimal<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&digits)
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

/// Everything was brought back from the repository onto an empty machine. The subject is the layer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct LayerRecovered {
    /// The moment that was gone back to, where that was not the newest. What was backed up since then, and before this event, is
    /// of a past that was left.
    #[n(0)]
    pub until: Option<Timestamp>,
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
