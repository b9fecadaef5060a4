//! What is due of backups, restores and drills, and which backups are not kept any longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_types::{BackupId, ClusterName, InstanceId, Timestamp};

use crate::event::{OperationKind, Subject, SubjectKind};
use crate::recovery::{Recoverable, Scope};
use crate::view::{Cluster, ClusterState, Instance, InstanceState, KeepRule, RecoveryPoint, View};

/// How long a new instance waits for its first backup: what is made and deleted by a script is not worth one.
const FIRST_BACKUP_SECONDS: u64 = 300;
/// How long after a backup or a drill that did not come about the next is tried.
const RETRY_SECONDS: u64 = 1_800;
/// A first drill comes within so many seconds of the first backup, a moment of its own for each instance.
const FIRST_DRILL_WITHIN_SECONDS: u64 = 12 * 3_600;
/// How long the last backups of what was deleted are kept: a month is when somebody has noticed.
const GONE_SECONDS: u64 = 30 * 24 * 3_600;
/// A day, a week, a month, as backups are counted.
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// What is due, in the order of its urgency, and when to look again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecoveryPlan {
    pub work: Vec<Work>,
    /// The earliest moment at which time alone makes more due.
    pub next_due: Option<Timestamp>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    Restore {
        instance: InstanceId,
    },
    /// Of the instance's whole cluster, where its engine does that.
    BackUp {
        cluster: ClusterName,
        instance: InstanceId,
        whole_cluster: bool,
    },
    Drill {
        instance: InstanceId,
    },
    /// A backup is not kept any longer.
    Expire {
        backup: BackupId,
    },
}

/// What is due now.
pub fn plan_recovery(view: &View, engines: &Recoverable, now: Timestamp) -> RecoveryPlan {
    let mut plan = RecoveryPlan::default();
    let (mut backups, mut drills) = (Vec::new(), Vec::new());
    let failures = cluster_failures(view, engines, now);
    for instance in view.instances() {
        let Some(means) = engines.of(&instance.engine) else { continue };
        let Some(cluster) = view.cluster(&instance.cluster) else { continue };
        if let Some(restoring) = &instance.recovery.restoring {
            // On a cluster that can not be made to serve it fails, and says what to do: nothing would come of waiting.
            let decided = is_served(cluster) || cluster.state == ClusterState::Failed;
            if restoring.whole_cluster || (decided && is_made(instance)) {
                plan.work.push(Work::Restore { instance: instance.id.clone() });
            }
            continue;
        }
        let served = is_served(cluster) && instance.state == InstanceState::Ready && instance.moving.is_none();
        let whole_cluster = means.scope == Scope::Cluster;
        let failed_at = match whole_cluster {
            true => failures.get(&instance.cluster).copied(),
            false => instance.recovery.backup_failed.as_ref().map(|failure| failure.at),
        };
        if served && plan.is_reached(backup_due(view, instance, means.scope, means.log, failed_at, now), now) {
            let (cluster, instance) = (cluster.name.clone(), instance.id.clone());
            backups.push(Work::BackUp { cluster, instance, whole_cluster });
        }
        if plan.is_reached(drill_due(view, instance, now), now) {
            drills.push(Work::Drill { instance: instance.id.clone() });
        }
    }
    // One backup of a cluster serves everybody on it.
    let mut covered = BTreeSet::new();
    backups.retain(|work| match work {
        Work::BackUp { cluster, whole_cluster: true, .. } => covered.insert(cluster.clone()),
        _ => true,
    });
    plan.work.extend(backups);
    plan.work.extend(drills);
    plan.work.extend(expired(view, now).into_iter().map(|backup| Work::Expire { backup }));
    plan
}

impl RecoveryPlan {
    /// Whether a moment has come; one that has not is when to look again.
    fn is_reached(&mut self, due: Option<Timestamp>, now: Timestamp) -> bool {
        match due {
            Some(due) if due <= now => true,
            Some(due) => {
                self.next_due = Some(self.next_due.map_or(due, |earliest| earliest.min(due)));
                false
            }
            None => false,
        }
    }
}

fn is_served(cluster: &Cluster) -> bool {
    matches!(cluster.state, ClusterState::Ready | ClusterState::Degraded)
}

/// Whether there is something that data can be put into: one that is to be made is made first.
fn is_made(instance: &Instance) -> bool {
    matches!(instance.state, InstanceState::Ready | InstanceState::Failed)
}

fn is_asked_for(view: &View, instance: &Instance, kind: OperationKind) -> bool {
    let subject = Subject::new(SubjectKind::Instance, &instance.name);
    view.active_operations(&instance.tenant, &subject).any(|operation| operation.kind == kind)
}

/// When a backup of a whole cluster last did not come about, for whichever of its instances it was tried: tried for the next one it
/// would fail as well. One of a time to come is of a clock that was wrong, and none in whose place another could be seen.
fn cluster_failures<'a>(view: &'a View, engines: &Recoverable, now: Timestamp) -> BTreeMap<&'a ClusterName, Timestamp> {
    let mut failures = BTreeMap::new();
    for instance in view.instances() {
        let Some(failure) = instance.recovery.backup_failed.as_ref().filter(|failure| failure.at <= now) else {
            continue;
        };
        if engines.of(&instance.engine).is_some_and(|means| means.scope == Scope::Cluster) {
            let newest = failures.entry(&instance.cluster).or_insert(failure.at);
            *newest = failure.at.max(*newest);
        }
    }
    failures
}

/// When the next backup is due; a moment in the past where somebody asks for one.
fn backup_due(
    view: &View,
    instance: &Instance,
    scope: Scope,
    log: bool,
    failed_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if is_asked_for(view, instance, OperationKind::CreateBackup) {
        return Some(Timestamp::EPOCH);
    }
    let of = (scope == Scope::Instance).then_some(&instance.id);
    // One of a time to come is of a clock that was wrong. Whoever waited for that time would have no backups until then.
    let newest = view.points_on(&instance.cluster, of).iter().rev().map(|point| point.began_at).find(|at| *at <= now);
    let every = instance.recovery.policy.backup_every_seconds;
    let created_at = Some(instance.created_at).filter(|at| *at <= now);
    let due = match newest {
        // It is in the cluster's backup, or in the log that followed.
        Some(began_at) if log || created_at.is_none_or(|created_at| began_at >= created_at) => {
            began_at.plus_seconds(every)
        }
        _ => created_at.map_or(Timestamp::EPOCH, |at| at.plus_seconds(FIRST_BACKUP_SECONDS.min(every))),
    };
    let retry = failed_at.filter(|at| *at <= now).map(|at| at.plus_seconds(RETRY_SECONDS));
    Some(retry.map_or(due, |retry| due.max(retry)))
}

/// When the next drill is due; none while there is nothing to restore.
fn drill_due(view: &View, instance: &Instance, now: Timestamp) -> Option<Timestamp> {
    if is_asked_for(view, instance, OperationKind::RunDrill) {
        return Some(Timestamp::EPOCH);
    }
    if instance.state != InstanceState::Ready {
        return None;
    }
    // As above: what is of a time to come says nothing of when it was.
    let mut points = view.points_of(instance).peekable();
    points.peek()?;
    let first_point = points.find(|point| point.began_at <= now).map_or(Timestamp::EPOCH, |point| point.ended_at);
    let recovery = &instance.recovery;
    let drilled_at = recovery.drilled_at.filter(|at| *at <= now);
    let every = recovery.policy.drill_every_seconds;
    let spread = |within: u64| u64::from_le_bytes(first_bytes(&instance.id)) % within.max(1);
    let planned = match drilled_at {
        None => first_point.plus_seconds(spread(FIRST_DRILL_WITHIN_SECONDS.min(every))),
        // A tenth of the time between two of them, so that what was made together is not drilled together for ever.
        Some(at) => at.plus_seconds(every - spread(every / 10)),
    };
    // What an instance was made with changed nothing.
    let changed = recovery.policy.changed_at.filter(|changed| *changed > instance.created_at);
    let changed = changed.filter(|changed| drilled_at.is_none_or(|at| at < *changed));
    let failed = recovery.drill_failed.as_ref().map(|failure| failure.at.plus_seconds(RETRY_SECONDS.max(every / 7)));
    let due = changed.map_or(planned, |changed| planned.min(changed));
    Some(failed.map_or(due, |failed| due.min(failed)))
}

/// A number that differs from instance to instance and never changes.
fn first_bytes(id: &InstanceId) -> [u8; 8] {
    let mut bytes = [0; 8];
    for (at, byte) in id.suffix().bytes().enumerate() {
        bytes[at % 8] ^= byte.rotate_left((at / 8) as u32);
    }
    bytes
}

/// The backups that no rule keeps, and that nothing is brought back from now. What an instance that was deleted would be made of again is
/// kept for some time, and the newest of what is gone, for whoever deleted it by mistake.
fn expired(view: &View, now: Timestamp) -> Vec<BackupId> {
    let all = points_by_home(view);
    let lately = |since: Timestamp| now.seconds_since(since) < GONE_SECONDS as f64;
    let mut in_use: BTreeSet<_> =
        view.instances().filter_map(|instance| Some(&instance.recovery.restoring.as_ref()?.backup)).collect();
    // Others on its cluster have rules of their own, and newer backups than it has any use for.
    let unwanted = view.unwanted_instances().filter(|instance| instance.unwanted_since.is_some_and(lately));
    in_use.extend(unwanted.filter_map(|instance| Some(&view.points_of(instance).next_back()?.id)));
    let mut expired = Vec::new();
    for ((cluster, instance), points) in all {
        let kept = match rule(view, cluster, instance) {
            Some(rule) => kept(&points, rule),
            None => {
                points.last().filter(|point| lately(point.ended_at)).map(|point| point.id.clone()).into_iter().collect()
            }
        };
        let dropped = points.iter().map(|point| &point.id).filter(|id| !kept.contains(id) && !in_use.contains(id));
        expired.extend(dropped.cloned());
    }
    expired
}

/// What a rule is about: a cluster as it is now, or one instance on it.
type Home<'a> = (&'a ClusterName, Option<&'a InstanceId>);

/// All points in the order in which they were made, by where what is in them lives now: whoever has moved has one past.
fn points_by_home(view: &View) -> BTreeMap<Home<'_>, Vec<&Arc<RecoveryPoint>>> {
    let mut moved = BTreeMap::new();
    for instance in view.instances() {
        moved.extend(instance.former.iter().map(|former| (former, &instance.cluster)));
    }
    let mut by_home = BTreeMap::<_, Vec<_>>::new();
    for point in view.points() {
        let cluster = moved.get(&point.cluster).copied().unwrap_or(&point.cluster);
        by_home.entry((cluster, point.instance.as_ref())).or_default().push(point);
    }
    by_home.values_mut().for_each(|points| points.sort_by_key(|point| (point.after, &point.id)));
    by_home
}

/// The rule for what one backup holds: of a whole cluster, the most that anybody on it wants. None for what is gone.
fn rule(view: &View, cluster: &ClusterName, instance: Option<&InstanceId>) -> Option<KeepRule> {
    let rules = match instance {
        Some(id) => view.instance_by_id(id).map(|instance| instance.recovery.policy.keep).into_iter().collect(),
        None => view.instances_on(cluster).map(|instance| instance.recovery.policy.keep).collect::<Vec<_>>(),
    };
    rules.into_iter().reduce(KeepRule::or)
}

impl KeepRule {
    /// The rule that keeps whatever one of two keeps.
    fn or(self, other: Self) -> Self {
        Self {
            last: self.last.max(other.last),
            daily: self.daily.max(other.daily),
            weekly: self.weekly.max(other.weekly),
            monthly: self.monthly.max(other.monthly),
        }
    }
}

/// The points that a rule keeps, of points in the order in which they were made.
fn kept(points: &[&Arc<RecoveryPoint>], rule: KeepRule) -> BTreeSet<BackupId> {
    let mut kept: BTreeSet<_> = points.iter().rev().take(rule.last as usize).map(|point| point.id.clone()).collect();
    // Days, weeks and months of a fixed length since the epoch: simple, in no time zone, and never ambiguous.
    for (length, count) in [(DAY, rule.daily), (7 * DAY, rule.weekly), (30 * DAY, rule.monthly)] {
        let mut periods = BTreeSet::new();
        for point in points.iter().rev() {
            if periods.len() < count as usize && periods.insert(point.ended_at.as_micros().div_euclid(length)) {
                kept.insert(point.id.clone());
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_types::{BackupId, Timestamp};

    use super::{DAY, kept};
    use crate::view::{KeepRule, RecoveryPoint};

    /// Points at these hours.
    fn points(hours: &[i64]) -> Vec<Arc<RecoveryPoint>> {
        let point = |&hour: &i64| {
            let at = Timestamp::from_micros(hour * DAY / 24);
            Arc::new(RecoveryPoint {
                id: BackupId::from_random(hour as u64),
                cluster: "postgresql-shared".parse().unwrap(),
                instance: None,
                engine: "postgresql".parse().unwrap(),
                version: "15".to_owned(),
                began_at: at,
                ended_at: at,
                bytes: 1,
                uncovered: Vec::new(),
                after: 1,
            })
        };
        hours.iter().map(point).collect()
    }

    fn kept_hours(hours: &[i64], last: u32, daily: u32, weekly: u32, monthly: u32) -> Vec<i64> {
        let points = points(hours);
        let all: Vec<_> = points.iter().collect();
        let kept = kept(&all, KeepRule { last, daily, weekly, monthly });
        hours.iter().copied().filter(|hour| kept.contains(&BackupId::from_random(*hour as u64))).collect()
    }

    #[test]
    fn the_newest_of_each_period_is_kept() {
        let every_six_hours: Vec<i64> = (0..40).map(|n| n * 6).collect();
        assert_eq!(kept_hours(&every_six_hours, 2, 0, 0, 0), [228, 234]);
        assert_eq!(kept_hours(&every_six_hours, 1, 3, 0, 0), [186, 210, 234]);
        assert_eq!(kept_hours(&every_six_hours, 1, 0, 2, 0), [162, 234]);
        assert_eq!(kept_hours(&every_six_hours, 0, 2, 2, 1), [162, 210, 234]);
        assert_eq!(kept_hours(&[], 3, 7, 4, 6), [0; 0]);
        assert_eq!(kept_hours(&[5], 3, 7, 4, 6), [5]);
    }
}
