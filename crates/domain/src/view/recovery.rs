//! What is known of backups, and of how far they can be relied on.

use std::sync::Arc;

use mainstay_types::{
    Assertion, BackupId, ClusterName, EngineName, InstanceId, InstanceName, Sequence, TenantName, Timestamp,
};
use minicbor::{Decode, Encode};

use super::{Instance, View};
use crate::event::{BackupCompleted, DrillCheck, DrillFailed, DrillPassed, Event, RecoveryPolicyChanged, Until};

/// How often an instance is backed up where its owner says nothing: once a day.
const BACKUP_EVERY_SECONDS: u64 = 24 * 3_600;
/// How often an instance is drilled where its owner says nothing: once a week.
const DRILL_EVERY_SECONDS: u64 = 7 * 24 * 3_600;
/// How often it is remembered that the layer was taken back: each time was a disaster.
pub(super) const MOST_REWINDS: usize = 32;
/// How much later than planned the next drill may come before what was proven counts as overdue: drills are spread, wait for
/// one another, and are tried again when the machine was off.
const OVERDUE_GRACE: f64 = 0.25;

/// The longest that a drill takes. One that seems to have taken longer has ended while the journal's time stood still.
const LONGEST_DRILL: f64 = 24.0 * 3_600.0;

/// A backup: what an instance, or all instances of a cluster, can be brought back from.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RecoveryPoint {
    #[n(0)]
    pub id: BackupId,
    #[n(1)]
    pub cluster: ClusterName,
    /// The one instance that is in it; none where the whole cluster is.
    #[n(2)]
    pub instance: Option<InstanceId>,
    #[n(3)]
    pub engine: EngineName,
    #[n(4)]
    pub version: String,
    #[n(5)]
    pub began_at: Timestamp,
    #[n(6)]
    pub ended_at: Timestamp,
    #[n(7)]
    pub bytes: u64,
    #[n(8)]
    pub uncovered: Vec<String>,
    /// The newest event when it was made, or at the latest the one before that told of it. Of two backups of the same thing the one
    /// with the higher is the newer, whatever the clock said.
    #[n(9)]
    pub after: Sequence,
}

/// A backup in the repository that is nobody's who is there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Orphan {
    #[n(0)]
    pub backup: BackupId,
    /// When that was found.
    #[n(1)]
    pub since: Timestamp,
}

/// That the layer was taken back to an earlier moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rewind {
    /// The moment that it was taken back to.
    #[n(0)]
    pub until: Timestamp,
    /// When that was done.
    #[n(1)]
    pub at: Timestamp,
}

/// What a recovery point holds.
pub(super) type PointOf = (ClusterName, Option<InstanceId>);

/// What is known of one instance's recovery.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Recovery {
    #[n(0)]
    pub policy: RecoveryPolicy,
    /// Set while it is being brought back.
    #[n(1)]
    pub restoring: Option<Restoring>,
    /// The last backup, where that did not come about.
    #[n(2)]
    pub backup_failed: Option<Failure>,
    /// The last drill, where that did not pass.
    #[n(3)]
    pub drill_failed: Option<Failure>,
    /// The last drill that passed.
    #[n(4)]
    pub proof: Option<Proof>,
    /// When the last drill began, however it ended.
    #[n(5)]
    pub drilled_at: Option<Timestamp>,
    /// What was lost when its cluster came back, until what there is now is proven or was brought back otherwise.
    #[n(6)]
    pub lost: Option<String>,
}

/// How an instance is to be backed up and drilled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecoveryPolicy {
    #[n(0)]
    pub backup_every_seconds: u64,
    #[n(1)]
    pub drill_every_seconds: u64,
    #[n(2)]
    pub keep: KeepRule,
    #[n(3)]
    pub assertions: Vec<Assertion>,
    /// When its owner last changed it, from which on the next drill is due.
    #[n(4)]
    pub changed_at: Option<Timestamp>,
}

/// Which backups are kept: the newest of all, and the newest of each of so many days, weeks and months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct KeepRule {
    #[n(0)]
    pub last: u32,
    #[n(1)]
    pub daily: u32,
    #[n(2)]
    pub weekly: u32,
    #[n(3)]
    pub monthly: u32,
}

/// What an instance is brought back to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restoring {
    #[n(0)]
    pub origin: InstanceId,
    #[n(1)]
    pub backup: BackupId,
    #[n(2)]
    pub until: Until,
    /// Whether its whole cluster is laid out anew.
    #[n(3)]
    pub whole_cluster: bool,
}

/// Something that did not come about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    #[n(0)]
    pub at: Timestamp,
    #[n(1)]
    pub reason: String,
}

/// That a recovery point was brought back and was well.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    #[n(0)]
    pub at: Timestamp,
    #[n(1)]
    pub backup: BackupId,
    #[n(2)]
    pub recovery_time_milliseconds: u64,
    #[n(3)]
    pub loss_milliseconds: u64,
}

/// One drill, as it is listed.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Drill {
    /// Of its event, by which it is found in the journal.
    #[n(0)]
    pub sequence: u64,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub instance: InstanceName,
    #[n(3)]
    pub instance_id: InstanceId,
    #[n(4)]
    pub backup: Option<BackupId>,
    #[n(5)]
    pub began_at: Timestamp,
    #[n(6)]
    pub ended_at: Timestamp,
    #[n(7)]
    pub checks: Vec<DrillCheck>,
    #[n(8)]
    pub outcome: DrillOutcome,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum DrillOutcome {
    #[n(0)]
    Passed {
        #[n(0)]
        recovery_time_milliseconds: u64,
        #[n(1)]
        loss_milliseconds: u64,
    },
    #[n(1)]
    Failed {
        #[n(0)]
        reason: String,
    },
}

/// How far an instance's recovery can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecoveryState {
    /// There is nothing to bring it back from.
    Unprotected,
    /// There is, and it was never tried.
    Unproven,
    /// The newest drill passed.
    Proven,
    /// It passed too long ago.
    Overdue,
    /// The newest drill did not pass.
    Failed,
}

// === impl RecoveryPolicy ===

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self {
            backup_every_seconds: BACKUP_EVERY_SECONDS,
            drill_every_seconds: DRILL_EVERY_SECONDS,
            keep: KeepRule::default(),
            assertions: Vec::new(),
            changed_at: None,
        }
    }
}

impl Default for KeepRule {
    fn default() -> Self {
        Self { last: 3, daily: 7, weekly: 4, monthly: 6 }
    }
}

impl RecoveryPolicy {
    pub(super) fn of(changed: RecoveryPolicyChanged, at: Timestamp) -> Self {
        let default = Self::default();
        let keep = default.keep;
        Self {
            backup_every_seconds: changed.backup_every_seconds.unwrap_or(default.backup_every_seconds),
            drill_every_seconds: changed.drill_every_seconds.unwrap_or(default.drill_every_seconds),
            keep: KeepRule {
                last: changed.keep_last.unwrap_or(keep.last),
                daily: changed.keep_daily.unwrap_or(keep.daily),
                weekly: changed.keep_weekly.unwrap_or(keep.weekly),
                monthly: changed.keep_monthly.unwrap_or(keep.monthly),
            },
            assertions: changed.assertions,
            changed_at: Some(at),
        }
    }

    /// What makes another instance's policy this one; none where it is the layer's default.
    pub(crate) fn as_change(&self) -> Option<RecoveryPolicyChanged> {
        let (default, keep) = (Self::default(), self.keep);
        let change = RecoveryPolicyChanged {
            backup_every_seconds: other(self.backup_every_seconds, default.backup_every_seconds),
            drill_every_seconds: other(self.drill_every_seconds, default.drill_every_seconds),
            keep_last: other(keep.last, default.keep.last),
            keep_daily: other(keep.daily, default.keep.daily),
            keep_weekly: other(keep.weekly, default.keep.weekly),
            keep_monthly: other(keep.monthly, default.keep.monthly),
            assertions: self.assertions.clone(),
        };
        (change != RecoveryPolicyChanged::default()).then_some(change)
    }
}

/// What is not the default, which stays the layer's to change.
fn other<T: PartialEq>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

// === impl RecoveryPoint ===

impl RecoveryPoint {
    /// The one that the event after `last` tells of.
    pub(super) fn of(completed: BackupCompleted, last: Sequence) -> Self {
        let BackupCompleted { backup, cluster, instance, engine, version, began_at, ended_at, bytes, uncovered, after } =
            completed;
        // One of a journal that had come further, before a disaster, was made before all that this one tells from here on.
        let after = after.map_or(last, |after| after.min(last));
        Self { id: backup, cluster, instance, engine, version, began_at, ended_at, bytes, uncovered, after }
    }

    pub(super) fn of_what(&self) -> PointOf {
        (self.cluster.clone(), self.instance.clone())
    }
}

// === impl Recovery ===

impl Recovery {
    pub(super) fn drilled(&mut self, drill: &Drill) {
        // The journal's time never goes back, and stands still where the clock was ahead once; an engine's is the clock's.
        self.drilled_at = Some(drill.began_at);
        match (&drill.outcome, &drill.backup) {
            (DrillOutcome::Passed { recovery_time_milliseconds, loss_milliseconds }, Some(backup)) => {
                (self.drill_failed, self.lost) = (None, None);
                self.proof = Some(Proof {
                    at: drill.ended_at,
                    backup: backup.clone(),
                    recovery_time_milliseconds: *recovery_time_milliseconds,
                    loss_milliseconds: *loss_milliseconds,
                });
            }
            (DrillOutcome::Failed { reason }, _) => {
                self.drill_failed = Some(Failure { at: drill.began_at, reason: reason.clone() });
            }
            (DrillOutcome::Passed { .. }, None) => {}
        }
    }

    /// How far it can be relied on, where there is a point or not.
    pub fn state(&self, protected: bool, now: Timestamp) -> RecoveryState {
        let overdue = |proof: &Proof| {
            now.seconds_since(proof.at) > self.policy.drill_every_seconds as f64 * (1.0 + OVERDUE_GRACE)
        };
        match (&self.drill_failed, &self.proof) {
            _ if !protected => RecoveryState::Unprotected,
            (Some(_), _) => RecoveryState::Failed,
            (None, None) => RecoveryState::Unproven,
            (None, Some(proof)) if overdue(proof) => RecoveryState::Overdue,
            (None, Some(_)) => RecoveryState::Proven,
        }
    }
}

impl std::fmt::Display for RecoveryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unprotected => "unprotected",
            Self::Unproven => "unproven",
            Self::Proven => "proven",
            Self::Overdue => "overdue",
            Self::Failed => "failed",
        })
    }
}

// === impl Drill ===

impl Drill {
    pub(super) fn passed(event: &Event, body: DrillPassed) -> Option<Self> {
        let DrillPassed { instance, backup, began_at, recovery_time_milliseconds, loss_milliseconds, checks, .. } =
            body;
        let outcome = DrillOutcome::Passed { recovery_time_milliseconds, loss_milliseconds };
        Self::new(event, instance, Some(backup), began_at, checks, outcome)
    }

    pub(super) fn failed(event: &Event, body: DrillFailed) -> Option<Self> {
        let DrillFailed { instance, backup, began_at, reason, checks, .. } = body;
        Self::new(event, instance, backup, began_at, checks, DrillOutcome::Failed { reason })
    }

    fn new(
        event: &Event,
        instance_id: InstanceId,
        backup: Option<BackupId>,
        began_at: Timestamp,
        checks: Vec<DrillCheck>,
        outcome: DrillOutcome,
    ) -> Option<Self> {
        Some(Self {
            sequence: event.sequence,
            tenant: event.tenant.clone()?,
            instance: event.subject.id.parse().ok()?,
            instance_id,
            backup,
            began_at,
            ended_at: if event.time.seconds_since(began_at) < LONGEST_DRILL { event.time } else { began_at },
            checks,
            outcome,
        })
    }
}

// === impl View ===

impl View {
    /// A recovery point by its id.
    pub fn point(&self, id: &BackupId) -> Option<&Arc<RecoveryPoint>> {
        self.points.get(id)
    }

    /// All recovery points, by id.
    pub fn points(&self) -> impl Iterator<Item = &Arc<RecoveryPoint>> {
        self.points.values()
    }

    /// What an instance can be brought back from, in the order in which it was made, wherever it lived then.
    pub fn points_of(&self, instance: &Instance) -> impl DoubleEndedIterator<Item = &Arc<RecoveryPoint>> {
        let homes = instance.former.iter().chain([&instance.cluster]);
        let mut points: Vec<_> = homes
            .flat_map(|cluster| self.points_at(cluster, &instance.id))
            .filter(|point| instance.unwanted_since.is_none_or(|since| point.ended_at <= since))
            .collect();
        points.sort_by_key(|point| (point.after, &point.id));
        points.into_iter()
    }

    /// Those that were made of a cluster, and of an instance while it lived there.
    pub(super) fn points_at<'a>(
        &'a self,
        cluster: &ClusterName,
        instance: &InstanceId,
    ) -> impl Iterator<Item = &'a Arc<RecoveryPoint>> + use<'a> {
        let whole = self.points_on(cluster, None);
        whole.into_iter().chain(self.points_on(cluster, Some(instance)))
    }

    /// The recovery points of a whole cluster, or of one instance that lived on it, in the order in which they were made.
    pub fn points_on(&self, cluster: &ClusterName, instance: Option<&InstanceId>) -> Vec<&Arc<RecoveryPoint>> {
        let of: PointOf = (cluster.clone(), instance.cloned());
        let from = (of.clone(), 0, BackupId::from_random(0));
        self.points_of
            .range(from..)
            .take_while(|(found, ..)| *found == of)
            .filter_map(|(.., id)| self.points.get(id))
            .collect()
    }

    /// The backups that are nobody's, by id.
    pub fn orphans(&self) -> impl Iterator<Item = &Orphan> {
        self.orphans.values()
    }

    /// Since when it is known that a backup is nobody's; none where it is somebody's, or not known at all.
    pub fn orphaned_at(&self, id: &BackupId) -> Option<Timestamp> {
        self.orphans.get(id).map(|orphan| orphan.since)
    }

    /// When the layer left the past that something of this moment is of, by going back to before it; none where it did not.
    pub fn left_at(&self, moment: Timestamp) -> Option<Timestamp> {
        self.rewinds.iter().find(|rewind| rewind.until < moment && moment <= rewind.at).map(|rewind| rewind.at)
    }

    /// The drills that are remembered, the oldest first.
    pub fn drills(&self) -> impl DoubleEndedIterator<Item = &Arc<Drill>> {
        self.drills.iter()
    }

    /// When somebody said that the recovery key is kept in a safe place.
    pub fn recovery_key_acknowledged_at(&self) -> Option<Timestamp> {
        self.recovery_key_acknowledged_at
    }
}
