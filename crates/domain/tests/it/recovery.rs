//! Backups, restores and drills: what is due, what is refused, and what follows.

use mainstay_domain::command::{
    BackUpInstance, BackupDone, BackupExpiry, BackupFailure, ClusterFailure, ClusterRestoration, ClusterStart,
    DrillDone, InstanceFailure, InstanceProvisioned, InstanceRemoved, NewInstance, OrphanFound, RecordRecovery,
    RestoreDone, RestoreFailure, RestoreInstance, RestoreTo, RunDrill, SetRecoveryPolicy, StartOutcome,
};
use mainstay_domain::event::{
    BackupCompleted, ClusterRestored, DrillFailed, DrillPassed, RecoveryPolicyChanged, RestoreCompleted, Until,
};
use mainstay_domain::plan::{Work, plan, plan_recovery};
use mainstay_domain::view::{
    Instance, InstanceState, OperationState, RecoveryPolicy, RecoveryState, View, VisibleState,
};
use mainstay_types::{Assertion, BackupId, Health, InstanceId, Observation};

use crate::harness::{Layer, recoverable, tenant};

const HOUR: u64 = 3_600;

/// A layer with ready instances of these names on the shared cluster.
pub fn with(names: &[&str]) -> Layer {
    let mut layer = Layer::new();
    for name in names {
        let create = layer.create(name);
        let id = create.id.clone();
        layer.submit(create).unwrap();
        make_ready(&mut layer, name, id);
    }
    layer
}

/// What engines report of an instance that was asked for.
pub fn make_ready(layer: &mut Layer, name: &str, id: InstanceId) {
    let cluster = instance(layer, name).cluster.clone();
    let (identity, version) = ("7".to_owned(), "15".to_owned());
    layer.submit(ClusterStart { cluster, identity, version, outcome: StartOutcome::Started }).unwrap();
    layer.submit(InstanceProvisioned { instance: id, repaired: None }).unwrap();
}

pub fn instance<'a>(layer: &'a Layer, name: &str) -> &'a Instance {
    layer.view.instance(&tenant(), &name.parse().unwrap()).unwrap()
}

fn due(layer: &Layer) -> Vec<Work> {
    plan_recovery(&layer.view, &recoverable(), layer.now).work
}

fn back_up(layer: &mut Layer, name: &str) -> mainstay_types::OperationId {
    let command = BackUpInstance { request: layer.request(None), tenant: tenant(), name: name.parse().unwrap() };
    layer.submit(command).unwrap().operation.unwrap()
}

/// What an engine reports that has backed the instance's cluster up now.
pub fn backed_up(layer: &mut Layer, name: &str) -> BackupId {
    let backup = BackupId::from_random(layer.draw());
    let completed = completed(layer, name, backup.clone());
    let (instance, asked_until) = (instance(layer, name).id.clone(), layer.now);
    layer.submit(BackupDone { instance, asked_until, completed }).unwrap();
    backup
}

fn completed(layer: &Layer, name: &str, backup: BackupId) -> BackupCompleted {
    BackupCompleted {
        backup,
        cluster: instance(layer, name).cluster.clone(),
        instance: None,
        engine: "postgresql".parse().unwrap(),
        version: "15".to_owned(),
        began_at: layer.now,
        ended_at: layer.now.plus_seconds(1),
        bytes: 1_000,
        uncovered: Vec::new(),
        after: None,
    }
}

fn restore(layer: &mut Layer, name: &str, at: RestoreTo) -> RestoreInstance {
    RestoreInstance { request: layer.request(None), tenant: tenant(), name: name.parse().unwrap(), at, new: None }
}

fn state(layer: &Layer, name: &str) -> RecoveryState {
    let instance = instance(layer, name);
    instance.recovery.state(layer.view.points_of(instance).next().is_some(), layer.now)
}

pub fn passed(layer: &Layer, name: &str, backup: &BackupId) -> DrillDone {
    DrillDone::Passed(DrillPassed {
        instance: instance(layer, name).id.clone(),
        backup: backup.clone(),
        began_at: layer.now,
        recovery_time_milliseconds: 1_500,
        loss_milliseconds: 20,
        checks: Vec::new(),
        record: None,
    })
}

/// A policy by which one backup is kept.
fn only_the_newest() -> RecoveryPolicyChanged {
    RecoveryPolicyChanged {
        keep_last: Some(1),
        keep_daily: Some(0),
        keep_weekly: Some(0),
        keep_monthly: Some(0),
        ..Default::default()
    }
}

#[test]
fn one_backup_of_a_cluster_serves_all_who_wait() {
    let mut layer = with(&["shop", "blog"]);
    assert_eq!(due(&layer), [], "what is new is left alone for a while");
    let (first, second) = (back_up(&mut layer, "shop"), back_up(&mut layer, "blog"));
    let work = due(&layer);
    assert!(matches!(&work[..], [Work::BackUp { whole_cluster: true, .. }]), "{work:?}");
    let before = layer.view.sequence();
    backed_up(&mut layer, "shop");
    assert_eq!(layer.kinds_after(before), ["v1.backup.completed", "v1.operation.succeeded", "v1.operation.succeeded"]);
    assert!([first, second].iter().all(|id| layer.view.operation(id).unwrap().is_finished()));
    assert_eq!(due(&layer), []);
    assert_eq!((state(&layer, "shop"), state(&layer, "blog")), (RecoveryState::Unproven, RecoveryState::Unproven));
    let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(restored, layer.view);
}

#[test]
fn backups_and_drills_come_due_by_themselves() {
    let mut layer = with(&["shop"]);
    let plan = plan_recovery(&layer.view, &recoverable(), layer.now);
    let first = plan.next_due.unwrap();
    assert!(first > layer.now);
    layer.now = first;
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }]));
    let reason = "the repository does not answer".to_owned();
    layer.submit(BackupFailure { instance: instance(&layer, "shop").id.clone(), reason }).unwrap();
    assert_eq!(due(&layer), [], "not at once again");
    layer.now = layer.now.plus_seconds(HOUR);
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }]));
    let backup = backed_up(&mut layer, "shop");
    assert_eq!(instance(&layer, "shop").recovery.backup_failed, None);

    layer.now = layer.now.plus_seconds(12 * HOUR + 2);
    assert_eq!(due(&layer), [Work::Drill { instance: instance(&layer, "shop").id.clone() }]);
    let done = passed(&layer, "shop", &backup);
    layer.submit(done).unwrap();
    assert_eq!((due(&layer), state(&layer, "shop")), (vec![], RecoveryState::Proven));
    layer.now = layer.now.plus_seconds(12 * HOUR);
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }]));
    backed_up(&mut layer, "shop");
    layer.now = layer.now.plus_seconds(9 * 24 * HOUR);
    assert_eq!(state(&layer, "shop"), RecoveryState::Overdue);
    assert!(due(&layer).iter().any(|work| matches!(work, Work::Drill { .. })));
}

#[test]
fn a_drill_that_fails_says_so_until_one_passes() {
    let mut layer = with(&["shop"]);
    let drill =
        |layer: &mut Layer| RunDrill { request: layer.request(None), tenant: tenant(), name: "shop".parse().unwrap() };
    let command = drill(&mut layer);
    assert_eq!(layer.submit(command).unwrap_err().code(), "recovery_point_missing");
    let backup = backed_up(&mut layer, "shop");
    let command = drill(&mut layer);
    let operation = layer.submit(command).unwrap().operation.unwrap();
    assert_eq!(due(&layer), [Work::Drill { instance: instance(&layer, "shop").id.clone() }]);
    let failed = DrillFailed {
        instance: instance(&layer, "shop").id.clone(),
        backup: Some(backup.clone()),
        began_at: layer.now,
        reason: "chunk 7 is damaged".to_owned(),
        checks: Vec::new(),
        record: None,
    };
    layer.submit(DrillDone::Failed(failed)).unwrap();
    assert_eq!((due(&layer), state(&layer, "shop")), (vec![], RecoveryState::Failed));
    let ended = &layer.view.operation(&operation).unwrap().state;
    assert!(matches!(ended, OperationState::Failed { code, .. } if code == "drill_failed"), "{ended:?}");
    let done = passed(&layer, "shop", &backup);
    layer.submit(done).unwrap();
    assert_eq!(state(&layer, "shop"), RecoveryState::Proven);
    assert_eq!(layer.view.drills().count(), 2);

    layer.now = layer.now.plus_seconds(1);
    let policy = RecoveryPolicyChanged { drill_every_seconds: Some(HOUR), ..Default::default() };
    let (tenant, name) = (tenant(), "shop".parse().unwrap());
    layer.submit(SetRecoveryPolicy { tenant, name, policy }).unwrap();
    assert_eq!(due(&layer).len(), 1, "a changed policy is tried at once");
}

#[test]
fn a_moment_that_can_not_be_had_is_refused_with_those_that_can() {
    let mut layer = with(&["shop"]);
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    assert_eq!(layer.submit(command).unwrap_err().code(), "recovery_point_missing");
    backed_up(&mut layer, "shop");
    let now = layer.now;
    let early = restore(&mut layer, "shop", RestoreTo::Time(now));
    let refused = layer.submit(early).unwrap_err();
    assert_eq!((refused.code(), refused.field().as_deref()), ("time_unreachable", Some("at")));
    assert!(refused.remedy().contains(&layer.now.plus_seconds(1).to_string()), "{}", refused.remedy());
    let unknown = restore(&mut layer, "shop", RestoreTo::Backup(BackupId::from_random(99)));
    assert_eq!(layer.submit(unknown).unwrap_err().code(), "backup_not_found");
    let time = restore(&mut layer, "shop", RestoreTo::Time(now.plus_seconds(60)));
    layer.submit(time).unwrap();
    let restoring = instance(&layer, "shop").recovery.restoring.clone().unwrap();
    assert_eq!(restoring.until, Until::Time(layer.now.plus_seconds(60)));
    let again = restore(&mut layer, "shop", RestoreTo::Latest);
    assert_eq!(layer.submit(again).unwrap_err().code(), "instance_restoring");
    let delete = layer.delete("shop", true);
    assert_eq!(layer.submit(delete).unwrap_err().code(), "instance_restoring");
}

#[test]
fn an_instance_that_is_restored_is_left_alone_meanwhile() {
    let mut layer = with(&["shop", "blog"]);
    let backup = backed_up(&mut layer, "shop");
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    let operation = layer.submit(command).unwrap().operation.unwrap();
    let id = instance(&layer, "shop").id.clone();
    assert_eq!(due(&layer), [Work::Restore { instance: id.clone() }]);
    let mut seen = Observation::without_service(Health::Serving);
    seen.instances.insert(id.clone(), mainstay_types::Presence::Missing);
    let cluster = instance(&layer, "shop").cluster.clone();
    assert_eq!(plan(&layer.view, &cluster, Some(&seen), layer.now).steps, []);

    let failure = RestoreFailure { instance: id.clone(), reason: "no room".to_owned() };
    layer.submit(failure.clone()).unwrap();
    assert!(matches!(layer.view.operation(&operation).unwrap().state, OperationState::Failed { .. }));
    assert_eq!(layer.submit(failure).unwrap().events, [], "told twice it is no news");
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    let operation = layer.submit(command).unwrap().operation.unwrap();
    let completed = RestoreCompleted { instance: id, backup, newest: layer.now, duration_milliseconds: 5 };
    layer.submit(RestoreDone { completed, cluster: None }).unwrap();
    assert_eq!(layer.view.operation(&operation).unwrap().state, OperationState::Succeeded);
    assert_eq!(instance(&layer, "shop").recovery.restoring, None);
}

#[test]
fn a_lost_cluster_is_laid_out_anew_as_a_whole() {
    let mut layer = with(&["shop", "blog"]);
    let backup = backed_up(&mut layer, "shop");
    let cluster = instance(&layer, "shop").cluster.clone();
    layer.submit(ClusterFailure { cluster: cluster.clone(), reason: "its data is gone".to_owned() }).unwrap();
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    layer.submit(command).unwrap();
    assert!(instance(&layer, "shop").recovery.restoring.as_ref().unwrap().whole_cluster);
    let other = restore(&mut layer, "blog", RestoreTo::Latest);
    assert_eq!(layer.submit(other).unwrap_err().code(), "instance_restoring");
    let down = Observation::without_service(Health::Down { cause: "its data is gone".to_owned() });
    assert_eq!(plan(&layer.view, &cluster, Some(&down), layer.now).steps, [], "nobody starts it meanwhile");
    let restored =
        ClusterRestored { identity: "8".to_owned(), version: "15".to_owned(), newest: layer.now, lost: None };
    let instance_id = instance(&layer, "shop").id.clone();
    let completed = RestoreCompleted { instance: instance_id, backup, newest: layer.now, duration_milliseconds: 5 };
    layer.submit(RestoreDone { completed, cluster: Some(restored) }).unwrap();
    let found = layer.view.cluster(&cluster).unwrap();
    assert_eq!(found.identity.as_deref(), Some("8"));
    for name in ["shop", "blog"] {
        assert_eq!(instance(&layer, name).visible_state(Some(found)).0, VisibleState::Ready);
    }
}

#[test]
fn what_was_lost_is_told_until_what_there_is_is_proven() {
    let mut layer = with(&["shop", "blog"]);
    let backup = backed_up(&mut layer, "shop");
    let cluster = instance(&layer, "shop").cluster.clone();
    let lost = || Some("what was committed after noon is lost".to_owned());
    let restored =
        ClusterRestored { identity: "8".to_owned(), version: "15".to_owned(), newest: layer.now, lost: lost() };
    layer.submit(ClusterRestoration { cluster: cluster.clone(), restored }).unwrap();
    let told = |layer: &Layer, name: &str| {
        let (state, why) = instance(layer, name).visible_state(layer.view.cluster(&cluster).map(|found| &**found));
        (state, why.map(str::to_owned))
    };
    for name in ["shop", "blog"] {
        assert_eq!(told(&layer, name), (VisibleState::Ready, lost()));
    }
    let done = passed(&layer, "shop", &backup);
    layer.submit(done).unwrap();
    assert_eq!(told(&layer, "shop"), (VisibleState::Ready, None));
    assert_eq!(told(&layer, "blog"), (VisibleState::Ready, lost()));
}

#[test]
fn a_copy_is_made_first_and_filled_then() {
    let mut layer = with(&["shop"]);
    backed_up(&mut layer, "shop");
    let mut command = restore(&mut layer, "shop", RestoreTo::Latest);
    let id = InstanceId::from_random(layer.draw());
    command.new = Some(NewInstance { name: "copy".parse().unwrap(), id: id.clone(), busy_ports: Default::default() });
    let before = layer.view.sequence();
    let operation = layer.submit(command).unwrap().operation.unwrap();
    assert_eq!(layer.kinds_after(before), ["v1.operation.started", "v1.instance.requested", "v1.restore.requested"]);
    assert_eq!(due(&layer), [], "it is not there yet");
    layer.submit(InstanceProvisioned { instance: id.clone(), repaired: None }).unwrap();
    assert_eq!(instance(&layer, "copy").state, InstanceState::Ready);
    assert!(!layer.view.operation(&operation).unwrap().is_finished());
    assert_eq!(due(&layer), [Work::Restore { instance: id }]);
    assert_eq!(instance(&layer, "copy").recovery.restoring.as_ref().unwrap().origin, instance(&layer, "shop").id);
}

#[test]
fn what_is_made_of_another_is_backed_up_as_that_was() {
    let mut layer = with(&["shop", "plain"]);
    let assertions = vec![Assertion { query: "SELECT 1".to_owned(), expect: "1".to_owned() }];
    let policy = RecoveryPolicyChanged { backup_every_seconds: Some(HOUR), assertions, ..only_the_newest() };
    let (tenant, name) = (tenant(), "shop".parse().unwrap());
    layer.submit(SetRecoveryPolicy { tenant, name, policy }).unwrap();
    let wanted = instance(&layer, "shop").recovery.policy.clone();
    backed_up(&mut layer, "shop");
    let anew = |layer: &mut Layer, of: &str, to: &str| {
        let mut command = restore(layer, of, RestoreTo::Latest);
        let (name, id) = (to.parse().unwrap(), InstanceId::from_random(layer.draw()));
        command.new = Some(NewInstance { name, id, busy_ports: Default::default() });
        layer.submit(command).unwrap();
        instance(layer, to).recovery.policy.clone()
    };
    let copy = anew(&mut layer, "shop", "copy");
    assert_eq!(RecoveryPolicy { changed_at: wanted.changed_at, ..copy }, wanted);
    assert_eq!(anew(&mut layer, "plain", "other"), RecoveryPolicy::default());
    layer.now = layer.now.plus_seconds(60);
    let gone = instance(&layer, "shop").id.clone();
    let delete = layer.delete("shop", true);
    layer.submit(delete).unwrap();
    layer.submit(InstanceRemoved { instance: gone }).unwrap();
    let back = anew(&mut layer, "shop", "shop");
    assert_eq!(RecoveryPolicy { changed_at: wanted.changed_at, ..back }, wanted);
}

#[test]
fn what_was_deleted_is_made_anew_as_it_was_before() {
    let mut layer = with(&["shop", "blog"]);
    let gone = instance(&layer, "shop").id.clone();
    let first = backed_up(&mut layer, "shop");
    layer.now = layer.now.plus_seconds(60);
    let delete = layer.delete("shop", true);
    layer.submit(delete).unwrap();
    let unwanted_since = layer.now;
    layer.now = layer.now.plus_seconds(60);
    layer.submit(InstanceRemoved { instance: gone.clone() }).unwrap();
    // The cluster goes on without it.
    let later = backed_up(&mut layer, "blog");

    let in_place = restore(&mut layer, "shop", RestoreTo::Latest);
    assert_eq!(layer.submit(in_place).unwrap_err().code(), "instance_not_found");
    let anew = |layer: &mut Layer, at| {
        let mut command = restore(layer, "shop", at);
        let (name, id) = ("shop".parse().unwrap(), InstanceId::from_random(layer.draw()));
        command.new = Some(NewInstance { name, id, busy_ports: Default::default() });
        command
    };
    for at in [RestoreTo::Time(unwanted_since.plus_seconds(1)), RestoreTo::Backup(later)] {
        let command = anew(&mut layer, at.clone());
        let code = layer.submit(command).unwrap_err().code();
        assert!(["time_unreachable", "backup_not_found"].contains(&code), "{at:?} is {code}");
    }
    let command = anew(&mut layer, RestoreTo::Latest);
    layer.submit(command).unwrap();
    let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(restored, layer.view);
    let restoring = instance(&layer, "shop").recovery.restoring.clone().unwrap();
    assert_eq!((restoring.origin, restoring.backup), (gone, first));
    assert_eq!(restoring.until, Until::Time(unwanted_since));
    assert_eq!(layer.view.deleted_instance(&tenant(), &"shop".parse().unwrap()), None, "another has its name");
}

#[test]
fn what_was_deleted_is_kept_for_a_month_whatever_its_cluster_has_since() {
    let expired = |layer: &Layer| {
        let work = due(layer).into_iter();
        work.filter_map(|work| if let Work::Expire { backup } = work { Some(backup) } else { None }).collect::<Vec<_>>()
    };
    let mut layer = with(&["shop", "blog"]);
    let policy = only_the_newest();
    for name in ["shop", "blog"] {
        let (tenant, name, policy) = (tenant(), name.parse().unwrap(), policy.clone());
        layer.submit(SetRecoveryPolicy { tenant, name, policy }).unwrap();
    }
    let older = backed_up(&mut layer, "shop");
    layer.now = layer.now.plus_seconds(24 * HOUR);
    let last = backed_up(&mut layer, "shop");
    layer.now = layer.now.plus_seconds(20 * 24 * HOUR);
    for name in ["shop", "blog"] {
        let gone = instance(&layer, name).id.clone();
        let delete = layer.delete(name, true);
        layer.submit(delete).unwrap();
        // One that was being taken ends.
        layer.now = layer.now.plus_seconds(60);
        backed_up(&mut layer, name);
        assert_eq!(expired(&layer).iter().filter(|id| **id == last).count(), 0, "while it is being deleted");
        layer.submit(InstanceRemoved { instance: gone }).unwrap();
    }
    layer.now = layer.now.plus_seconds(29 * 24 * HOUR);
    let gone = expired(&layer);
    assert!(gone.contains(&older) && !gone.contains(&last), "{gone:?}");
    let tenant = tenant();
    let shop = layer.view.deleted_instance(&tenant, &"shop".parse().unwrap()).unwrap();
    assert_eq!(layer.view.points_of(shop).next_back().unwrap().id, last);
    layer.now = layer.now.plus_seconds(2 * 24 * HOUR);
    assert!(expired(&layer).contains(&last));
}

#[test]
fn what_no_rule_keeps_expires() {
    let mut layer = with(&["shop"]);
    let mut backups = Vec::new();
    for _ in 0..40 {
        layer.now = layer.now.plus_seconds(24 * HOUR);
        backups.push(backed_up(&mut layer, "shop"));
    }
    let expired: Vec<BackupId> = due(&layer)
        .into_iter()
        .filter_map(|work| if let Work::Expire { backup } = work { Some(backup) } else { None })
        .collect();
    assert!(!expired.is_empty() && !expired.contains(&backups[39]) && !expired.contains(&backups[33]), "{expired:?}");
    for backup in &expired {
        layer.submit(BackupExpiry { backup: backup.clone() }).unwrap();
    }
    let left = layer.view.points_of(instance(&layer, "shop")).count();
    assert_eq!(left, 40 - expired.len());
    assert!((7..=17).contains(&left), "{left}");
    assert!(!due(&layer).iter().any(|work| matches!(work, Work::Expire { .. })));
}

#[test]
fn what_is_brought_back_from_does_not_expire_meanwhile() {
    let mut layer = with(&["shop"]);
    let oldest = backed_up(&mut layer, "shop");
    let policy = only_the_newest();
    let (tenant, name) = (tenant(), "shop".parse().unwrap());
    layer.submit(SetRecoveryPolicy { tenant, name, policy }).unwrap();
    let command = restore(&mut layer, "shop", RestoreTo::Backup(oldest.clone()));
    layer.submit(command).unwrap();
    layer.now = layer.now.plus_seconds(HOUR);
    backed_up(&mut layer, "shop");
    let expires = |layer: &Layer| due(layer).contains(&Work::Expire { backup: oldest.clone() });
    assert!(!expires(&layer), "the restore may be begun again, and needs it then");
    let instance = instance(&layer, "shop").id.clone();
    layer.submit(RestoreFailure { instance, reason: "no room".to_owned() }).unwrap();
    assert!(expires(&layer));
}

#[test]
fn a_failed_backup_of_a_cluster_is_not_tried_for_each_of_its_instances() {
    let mut layer = with(&["shop", "blog"]);
    layer.now = layer.now.plus_seconds(HOUR);
    assert_eq!(due(&layer).len(), 1);
    let reason = "the repository does not answer".to_owned();
    layer.submit(BackupFailure { instance: instance(&layer, "shop").id.clone(), reason }).unwrap();
    assert_eq!(due(&layer), [], "it would fail again");
    layer.now = layer.now.plus_seconds(HOUR);
    assert_eq!(due(&layer).len(), 1);
    backed_up(&mut layer, "blog");
    assert_eq!(instance(&layer, "shop").recovery.backup_failed, None, "it is in the other's");
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_from_being_backed_up() {
    let mut layer = with(&["shop"]);
    let right = layer.now.plus_seconds(HOUR);
    layer.now = layer.now.plus_seconds(10_000 * HOUR);
    backed_up(&mut layer, "shop");
    layer.now = right;
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }, ..]), "{:?}", due(&layer));
    backed_up(&mut layer, "shop");
    assert!(!due(&layer).iter().any(|work| matches!(work, Work::BackUp { .. })));
}

#[test]
fn the_newest_backup_is_the_one_that_was_made_last_whatever_the_clock_said() {
    let mut layer = with(&["shop"]);
    let right = layer.now;
    layer.now = right.plus_seconds(10_000 * HOUR);
    let dated_ahead = backed_up(&mut layer, "shop");
    layer.now = right.plus_seconds(HOUR);
    let newest = backed_up(&mut layer, "shop");
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    layer.submit(command).unwrap();
    assert_eq!(instance(&layer, "shop").recovery.restoring.as_ref().unwrap().backup, newest);
    let id = instance(&layer, "shop").id.clone();
    layer.submit(RestoreFailure { instance: id, reason: "no room".to_owned() }).unwrap();

    let (tenant, name, policy) = (tenant(), "shop".parse().unwrap(), only_the_newest());
    layer.submit(SetRecoveryPolicy { tenant, name, policy }).unwrap();
    let expires = |backup: &BackupId| due(&layer).contains(&Work::Expire { backup: backup.clone() });
    assert!(expires(&dated_ahead) && !expires(&newest));
    let stored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(stored, layer.view);
}

#[test]
fn what_is_recorded_late_is_as_old_as_it_is() {
    let mut layer = with(&["shop"]);
    let late = BackupId::from_random(layer.draw());
    let completed = completed(&layer, "shop", late.clone());
    let of_a_longer_journal = BackupId::from_random(layer.draw());
    let instance_id = instance(&layer, "shop").id.clone();
    let record = |layer: &mut Layer, backup: &BackupId, after| {
        let completed = BackupCompleted { backup: backup.clone(), after: Some(after), ..completed.clone() };
        layer.submit(BackupDone { instance: instance_id.clone(), asked_until: layer.now, completed }).unwrap();
    };
    let made_after = layer.view.sequence();
    let known = backed_up(&mut layer, "shop");
    record(&mut layer, &late, made_after - 1);
    record(&mut layer, &of_a_longer_journal, 1_000);
    let newest = backed_up(&mut layer, "shop");
    let points: Vec<_> = layer.view.points_of(instance(&layer, "shop")).map(|point| point.id.clone()).collect();
    assert_eq!(points, [late, known, of_a_longer_journal, newest]);
}

#[test]
fn a_failed_backup_waits_whatever_becomes_of_the_clock() {
    let mut layer = with(&["shop", "blog"]);
    let right = layer.now.plus_seconds(HOUR);
    let fail = |layer: &mut Layer, name: &str| {
        let instance = instance(layer, name).id.clone();
        layer.submit(BackupFailure { instance, reason: "the repository does not answer".to_owned() }).unwrap();
    };
    layer.now = right.plus_seconds(10_000 * HOUR);
    fail(&mut layer, "blog");
    layer.now = right;
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }]), "nobody waits for the time that was told");
    fail(&mut layer, "shop");
    assert_eq!(due(&layer), [], "and not at once again");
    layer.now = right.plus_seconds(HOUR);
    assert!(matches!(&due(&layer)[..], [Work::BackUp { .. }]));
}

#[test]
fn whoever_deletes_what_is_brought_back_ends_that() {
    let mut layer = with(&["shop", "blog"]);
    backed_up(&mut layer, "shop");
    let command = restore(&mut layer, "shop", RestoreTo::Latest);
    layer.submit(command).unwrap();
    let cluster = instance(&layer, "shop").cluster.clone();
    layer.submit(ClusterFailure { cluster, reason: "its data is gone".to_owned() }).unwrap();
    let id = instance(&layer, "shop").id.clone();
    assert!(due(&layer).contains(&Work::Restore { instance: id.clone() }), "it fails, and the cluster can be restored");
    layer.submit(InstanceFailure { instance: id, reason: "its data is gone".to_owned() }).unwrap();
    let delete = layer.delete("shop", true);
    layer.submit(delete).unwrap();
    assert_eq!(instance(&layer, "shop").recovery.restoring, None);
    assert!(!due(&layer).iter().any(|work| matches!(work, Work::Restore { .. })));
}

#[test]
fn a_backup_of_a_cluster_counts_though_whom_it_was_taken_for_is_gone() {
    let mut layer = with(&["shop", "blog"]);
    let operation = back_up(&mut layer, "blog");
    let completed = completed(&layer, "blog", BackupId::from_random(99));
    let (gone, asked_until) = (InstanceId::from_random(99), layer.now);
    let alone = BackupCompleted { instance: Some(gone.clone()), ..completed.clone() };
    let done = BackupDone { instance: gone.clone(), asked_until, completed: alone };
    assert_eq!(layer.submit(done).unwrap().events, []);
    layer.submit(BackupDone { instance: gone, asked_until, completed }).unwrap();
    assert_eq!(layer.view.points_of(instance(&layer, "shop")).count(), 1);
    assert!(layer.view.operation(&operation).unwrap().is_finished());
}

#[test]
fn a_backup_that_was_found_before_it_was_told_of_is_recorded_once_and_waited_for_no_more() {
    let mut layer = with(&["shop"]);
    let began_at = layer.now;
    layer.now = began_at.plus_seconds(1);
    let operation = back_up(&mut layer, "shop");
    let completed = completed(&layer, "shop", BackupId::from_random(99));
    let instance = instance(&layer, "shop").id.clone();
    let before = layer.view.sequence();
    for asked_until in [began_at, layer.now, layer.now] {
        let (instance, completed) = (instance.clone(), completed.clone());
        layer.submit(BackupDone { instance, asked_until, completed }).unwrap();
    }
    assert_eq!(layer.kinds_after(before), ["v1.backup.completed", "v1.operation.succeeded"]);
    assert!(layer.view.operation(&operation).unwrap().is_finished());
}

#[test]
fn it_is_remembered_since_when_a_backup_is_nobodys() {
    let mut layer = with(&["shop"]);
    let (backup, since) = (BackupId::from_random(99), layer.now);
    for _ in 0..2 {
        layer.submit(OrphanFound { backup: backup.clone() }).unwrap();
        layer.now = layer.now.plus_seconds(HOUR);
    }
    assert_eq!(layer.view.orphaned_at(&backup), Some(since));
    let stored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(stored, layer.view);
    layer.submit(BackupExpiry { backup: backup.clone() }).unwrap();
    assert_eq!(layer.view.orphans().count(), 0);
    assert_eq!(layer.submit(BackupExpiry { backup }).unwrap().events, []);

    let known = backed_up(&mut layer, "shop");
    assert_eq!(layer.submit(OrphanFound { backup: known }).unwrap().events, [], "it is somebody's");
}

#[test]
fn of_what_is_deleted_the_newest_backup_stays_for_a_month() {
    let mut layer = with(&["shop"]);
    let older = backed_up(&mut layer, "shop");
    layer.now = layer.now.plus_seconds(HOUR);
    let newest = backed_up(&mut layer, "shop");
    let taken = layer.now;
    layer.now = taken.plus_seconds(1);
    let id = instance(&layer, "shop").id.clone();
    let delete = layer.delete("shop", true);
    layer.submit(delete).unwrap();
    layer.submit(InstanceRemoved { instance: id }).unwrap();
    let expires = |layer: &Layer, backup: &BackupId| due(layer).contains(&Work::Expire { backup: backup.clone() });
    assert!(expires(&layer, &older) && !expires(&layer, &newest), "whoever deleted it by mistake has a month");
    layer.now = taken.plus_seconds(30 * 24 * HOUR - HOUR);
    assert!(!expires(&layer, &newest));
    layer.now = taken.plus_seconds(30 * 24 * HOUR + HOUR);
    assert!(expires(&layer, &newest));
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_from_being_drilled() {
    let mut layer = with(&["shop"]);
    let right = layer.now;
    layer.now = right.plus_seconds(365 * 24 * HOUR);
    let backup = backed_up(&mut layer, "shop");
    let done = passed(&layer, "shop", &backup);
    layer.submit(done).unwrap();
    // The clock is set right. The journal's time stands still from here on.
    layer.now = right.plus_seconds(HOUR);
    let drill = Work::Drill { instance: instance(&layer, "shop").id.clone() };
    assert!(due(&layer).contains(&drill));
    let backup = backed_up(&mut layer, "shop");
    let done = passed(&layer, "shop", &backup);
    layer.submit(done).unwrap();
    assert_eq!(due(&layer), [], "once, and not again and again");
    layer.now = layer.now.plus_seconds(8 * 24 * HOUR);
    assert!(due(&layer).contains(&drill));

    // What is made while the journal's time stands still is backed up, and not again and again either.
    let create = layer.create("blog");
    let (id, cluster) = (create.id.clone(), instance(&layer, "shop").cluster.clone());
    layer.submit(create).unwrap();
    layer.submit(InstanceProvisioned { instance: id.clone(), repaired: None }).unwrap();
    let due_backup = |layer: &Layer| {
        due(layer).iter().any(|work| matches!(work, Work::BackUp { cluster: of, .. } if *of == cluster))
    };
    assert!(due_backup(&layer));
    backed_up(&mut layer, "blog");
    assert!(!due_backup(&layer));
}

#[test]
fn what_was_backed_up_in_a_past_that_was_left_is_told_apart() {
    let mut layer = with(&["shop"]);
    let moment = layer.now;
    layer.now = moment.plus_seconds(2 * HOUR);
    layer.submit(RecordRecovery { until: Some(moment) }).unwrap();
    layer.submit(RecordRecovery { until: None }).unwrap();
    let left = |seconds: u64| layer.view.left_at(moment.plus_seconds(seconds)).is_some();
    assert_eq!([left(0), left(1), left(2 * HOUR), left(2 * HOUR + 1)], [false, true, true, false]);
    let stored = minicbor::to_vec(&layer.view).unwrap();
    assert_eq!(minicbor::decode::<View>(&stored).unwrap(), layer.view);
}
