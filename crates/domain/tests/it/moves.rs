//! Instances that move: what is refused, what follows, and how it ends.

use mainstay_domain::command::{
    ClusterDegradation, ClusterFailure, ClusterStart, CredentialApplied, InstanceProvisioned, MoveCompleted,
    MoveFailure, RestoreInstance, RestoreTo, SetRecoveryPolicy, StartOutcome,
};
use mainstay_domain::event::RecoveryPolicyChanged;
use mainstay_domain::plan::{Step, Work, plan, plan_recovery};
use mainstay_domain::view::{ClusterState, Instance, OperationState, View};
use mainstay_types::{BackupId, BindingId, ClusterName, Health, Observation, OperationId, Plan};

use crate::harness::{Layer, recoverable, tenant};
use crate::recovery::backed_up;

/// A layer with one ready dedicated instance, `shop`.
fn with_shop() -> Layer {
    let mut layer = Layer::new();
    let mut create = layer.create("shop");
    create.plan = Some(Plan::Dedicated);
    let id = create.id.clone();
    layer.submit(create).unwrap();
    let cluster = shop(&layer).cluster.clone();
    start(&mut layer, &cluster);
    layer.submit(InstanceProvisioned { instance: id, repaired: None }).unwrap();
    layer
}

fn shop(layer: &Layer) -> &Instance {
    layer.view.instance(&tenant(), &"shop".parse().unwrap()).unwrap()
}

fn start(layer: &mut Layer, cluster: &ClusterName) {
    let (cluster, identity, version) = (cluster.clone(), cluster.to_string(), "1".to_owned());
    layer.submit(ClusterStart { cluster, identity, version, outcome: StartOutcome::Started }).unwrap();
}

fn bound(layer: &mut Layer) -> BindingId {
    let bind = layer.bind("shop");
    let id = bind.id.clone();
    layer.submit(bind).unwrap();
    let binding = layer.view.binding(&id).unwrap();
    let valid_until = binding.valid_until(&binding.credentials[0]);
    layer.submit(CredentialApplied { binding: id.clone(), generation: 1, valid_until, repaired: None }).unwrap();
    id
}

/// Begins to move it; answers the operation and the cluster that it is to live on.
fn moving(layer: &mut Layer, engine: Option<&str>) -> (OperationId, ClusterName) {
    let mut relocate = layer.relocate("shop");
    relocate.engine = engine.map(|engine| engine.parse().unwrap());
    let operation = layer.submit(relocate).unwrap().operation.unwrap();
    (operation, shop(layer).moving.clone().unwrap())
}

fn steps(layer: &Layer, cluster: &ClusterName) -> Vec<&'static str> {
    let mut serving = Observation::without_service(Health::Serving);
    serving.changed_settings.push("port is another".to_owned());
    plan(&layer.view, cluster, Some(&serving), layer.now).steps.iter().map(Step::name).collect()
}

#[test]
fn an_instance_moves_with_its_port_and_its_bindings() {
    let mut layer = with_shop();
    let binding = bound(&mut layer);
    let (old, before) = (shop(&layer).cluster.clone(), layer.view.sequence());
    let (operation, new) = moving(&mut layer, Some("successor"));
    assert_eq!(
        layer.kinds_after(before),
        ["v1.operation.started", "v1.cluster.requested", "v1.instance.move-requested"]
    );
    assert_eq!((layer.view.cluster(&old).unwrap().port, layer.view.cluster(&new).unwrap().port), (7500, 7501));
    assert_eq!(steps(&layer, &new), ["start"]);
    start(&mut layer, &new);
    assert_eq!(steps(&layer, &new), ["move"], "its settings are a copy's");
    assert_eq!(steps(&layer, &old), ["reconfigure"]);

    let before = layer.view.sequence();
    let moved = MoveCompleted { instance: shop(&layer).id.clone(), cluster: new.clone(), write_pause_milliseconds: 12 };
    layer.submit(moved.clone()).unwrap();
    assert_eq!(layer.kinds_after(before), ["v1.instance.moved", "v1.cluster.retired", "v1.operation.succeeded"]);
    let instance = shop(&layer);
    assert_eq!((instance.engine.as_str(), &instance.cluster, &instance.moving), ("successor", &new, &None));
    assert_eq!(layer.view.cluster(&new).unwrap().port, 7500);
    assert_eq!(layer.view.instances_on(&new).count(), 1);
    assert_eq!(layer.view.instances_on(&old).count(), 0);
    assert_eq!(steps(&layer, &old), ["remove"]);
    assert_eq!(steps(&layer, &new), ["reconfigure"]);
    let operation = layer.view.operation(&operation).unwrap();
    assert_eq!(operation.detail.as_deref(), Some("writes waited for 12 ms"));
    assert!(layer.view.binding(&binding).unwrap().current().is_some());

    assert_eq!(layer.submit(moved).unwrap().events, [], "told twice it is no news");
    let restored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(restored, layer.view);
}

#[test]
fn a_move_that_fails_leaves_the_instance_where_it_was() {
    let mut layer = with_shop();
    let old = shop(&layer).cluster.clone();
    let (operation, new) = moving(&mut layer, None);
    assert!(new.as_str().starts_with(&format!("{old}-")), "{new}");
    start(&mut layer, &new);
    let before = layer.view.sequence();
    let reason = "it does not read the data".to_owned();
    layer.submit(MoveFailure { instance: shop(&layer).id.clone(), cluster: new.clone(), reason }).unwrap();
    assert_eq!(layer.kinds_after(before), ["v1.instance.move-failed", "v1.cluster.retired", "v1.operation.failed"]);
    assert_eq!((&shop(&layer).cluster, &shop(&layer).moving), (&old, &None));
    assert_eq!(layer.view.cluster(&new).unwrap().state, ClusterState::Retired);
    let failed = &layer.view.operation(&operation).unwrap().state;
    assert!(matches!(failed, OperationState::Failed { code, .. } if code == "move_failed"), "{failed:?}");
    let (_, third) = moving(&mut layer, None);
    assert!(third != new && third != old, "no name comes again");
}

#[test]
fn a_cluster_that_never_served_ends_the_move_and_one_that_did_does_not() {
    let mut layer = with_shop();
    let failure = |cluster: &ClusterName| ClusterFailure { cluster: cluster.clone(), reason: "no program".to_owned() };
    let (operation, new) = moving(&mut layer, Some("successor"));
    layer.submit(failure(&new)).unwrap();
    assert!(layer.view.operation(&operation).unwrap().is_finished());
    assert_eq!(shop(&layer).moving, None);

    let (operation, new) = moving(&mut layer, None);
    start(&mut layer, &new);
    layer.submit(failure(&new)).unwrap();
    assert!(!layer.view.operation(&operation).unwrap().is_finished(), "it may have taken over");
    let down = Observation::without_service(Health::Down { cause: "ended".to_owned() });
    let steps: Vec<_> = plan(&layer.view, &new, Some(&down), layer.now).steps.iter().map(Step::name).collect();
    assert_eq!(steps, ["start", "move"], "the step finds out");
}

#[test]
fn what_can_not_be_moved_is_refused_with_the_reason() {
    let mut layer = with_shop();
    let refused = |layer: &mut Layer, change: &dyn Fn(&mut mainstay_domain::command::MoveInstance)| {
        let mut relocate = layer.relocate("shop");
        change(&mut relocate);
        let rejection = layer.submit(relocate).unwrap_err();
        (rejection.code(), rejection.field(), rejection.to_string())
    };
    let (code, field, reason) = refused(&mut layer, &|m| m.plan = Some(Plan::Shared));
    assert_eq!((code, field.as_deref()), ("move_impossible", Some("plan")));
    assert!(reason.contains("its plan is dedicated"), "{reason}");
    assert_eq!(refused(&mut layer, &|m| m.engine = Some("oracle".parse().unwrap())).0, "engine_unknown");
    assert_eq!(refused(&mut layer, &|m| m.name = "blog".parse().unwrap()).0, "instance_not_found");
    let create = layer.create("blog");
    layer.submit(create).unwrap();
    let (code, _, reason) = refused(&mut layer, &|m| m.name = "blog".parse().unwrap());
    assert_eq!(code, "move_impossible");
    assert!(reason.contains("shares its cluster"), "{reason}");

    let cluster = shop(&layer).cluster.clone();
    layer.submit(ClusterDegradation { cluster: cluster.clone(), reason: "slow".to_owned() }).unwrap();
    assert_eq!(refused(&mut layer, &|_| {}).0, "instance_not_ready");
    layer.submit(ClusterFailure { cluster: cluster.clone(), reason: "gone".to_owned() }).unwrap();
    assert_eq!(refused(&mut layer, &|_| {}).0, "instance_failed");
    start(&mut layer, &cluster);

    let (_, new) = moving(&mut layer, Some("successor"));
    assert_eq!(refused(&mut layer, &|_| {}).0, "instance_moving");
    start(&mut layer, &new);
    let moved = MoveCompleted { instance: shop(&layer).id.clone(), cluster: new, write_pause_milliseconds: 1 };
    layer.submit(moved).unwrap();
    let (code, field, reason) = refused(&mut layer, &|m| m.engine = Some("postgresql".parse().unwrap()));
    assert_eq!((code, field.as_deref()), ("move_impossible", Some("engine")));
    assert!(reason.contains("postgresql can not take over from successor"), "{reason}");
}

#[test]
fn what_moves_is_not_deleted_or_bound_anew_and_access_to_it_can_be_ended() {
    let mut layer = with_shop();
    let binding = bound(&mut layer);
    moving(&mut layer, None);
    let (delete, bind, rotate, replace) =
        (layer.delete("shop", true), layer.bind("shop"), layer.rotate(&binding), layer.replace(&binding));
    assert_eq!(layer.submit(delete).unwrap_err().code(), "instance_moving");
    assert_eq!(layer.submit(bind).unwrap_err().code(), "instance_moving");
    assert_eq!(layer.submit(rotate).unwrap_err().code(), "instance_moving");
    assert_eq!(layer.submit(replace).unwrap_err().code(), "instance_moving");
    let unbind = layer.unbind(&binding);
    layer.submit(unbind).unwrap();
    assert_eq!(steps(&layer, &shop(&layer).cluster), ["reconfigure", "unbind"]);
}

#[test]
fn what_has_moved_comes_back_from_what_was_backed_up_before() {
    let mut layer = with_shop();
    let first = backed_up(&mut layer, "shop");
    let (_, new) = moving(&mut layer, None);
    start(&mut layer, &new);
    let instance = shop(&layer).id.clone();
    layer.submit(MoveCompleted { instance, cluster: new.clone(), write_pause_milliseconds: 12 }).unwrap();
    assert_eq!(backups(&layer), std::slice::from_ref(&first));

    // It is lost before it is backed up where it is now.
    layer.now = layer.now.plus_seconds(1);
    layer.submit(ClusterFailure { cluster: new.clone(), reason: "its data is gone".to_owned() }).unwrap();
    let (request, at) = (layer.request(None), RestoreTo::Latest);
    layer
        .submit(RestoreInstance { request, tenant: tenant(), name: shop(&layer).name.clone(), at, new: None })
        .unwrap();
    let restoring = shop(&layer).recovery.restoring.clone().unwrap();
    assert_eq!((restoring.backup, restoring.whole_cluster), (first.clone(), true));
    let stored: View = minicbor::decode(&minicbor::to_vec(&layer.view).unwrap()).unwrap();
    assert_eq!(stored, layer.view);
}

#[test]
fn backups_of_before_and_after_a_move_are_kept_by_one_rule() {
    let mut layer = with_shop();
    let policy = RecoveryPolicyChanged {
        keep_last: Some(2),
        keep_daily: Some(0),
        keep_weekly: Some(0),
        keep_monthly: Some(0),
        ..Default::default()
    };
    layer.submit(SetRecoveryPolicy { tenant: tenant(), name: shop(&layer).name.clone(), policy }).unwrap();
    let before = [backed_up(&mut layer, "shop"), backed_up(&mut layer, "shop")];
    let (_, new) = moving(&mut layer, None);
    start(&mut layer, &new);
    let instance = shop(&layer).id.clone();
    layer.submit(MoveCompleted { instance, cluster: new, write_pause_milliseconds: 12 }).unwrap();
    // However long nothing new is made.
    layer.now = layer.now.plus_seconds(90 * 24 * 3_600);
    let expired = |layer: &Layer| {
        let work = plan_recovery(&layer.view, &recoverable(), layer.now).work.into_iter();
        work.filter_map(|work| if let Work::Expire { backup } = work { Some(backup) } else { None }).collect::<Vec<_>>()
    };
    assert_eq!(expired(&layer), []);
    let after = backed_up(&mut layer, "shop");
    assert_eq!(expired(&layer), before[..1]);
    assert_eq!(backups(&layer), [&before[0], &before[1], &after].map(Clone::clone));
    backed_up(&mut layer, "shop");
    assert_eq!(expired(&layer), before);
}

fn backups(layer: &Layer) -> Vec<BackupId> {
    layer.view.points_of(shop(layer)).map(|point| point.id.clone()).collect()
}
