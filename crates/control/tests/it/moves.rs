//! Instances that move while things go wrong.

use std::sync::Arc;

use mainstay_domain::event::{Body, InstanceMoved};
use mainstay_domain::view::OperationState;
use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use mainstay_types::{BindingId, ClusterName, Plan};

use crate::harness::{Layer, username};

/// A layer with a bound instance, `shop`, on a cluster of its own; and that cluster.
async fn with_shop() -> (Layer, BindingId, ClusterName) {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Dedicated).await).await;
    let (binding, operation) = layer.bind("shop", 3600).await;
    layer.succeeded(&operation).await;
    let cluster = layer.instance("shop").cluster.clone();
    (layer, binding, cluster)
}

async fn moved(layer: &Layer) -> InstanceMoved {
    match layer.event("v1.instance.moved").await.body().unwrap() {
        Body::InstanceMoved(moved) => moved,
        body => panic!("{body:?}"),
    }
}

fn times(layer: &Layer, operation: Operation) -> usize {
    layer.fake().calls().iter().filter(|(called, _)| *called == operation).count()
}

#[tokio::test]
async fn an_instance_moves_under_its_port_and_the_old_cluster_goes() {
    let (layer, binding, old) = with_shop().await;
    let password = layer.password(&binding).await;
    let port = layer.view().cluster(&old).unwrap().port;
    let operation = layer.relocate("shop").await;
    layer.succeeded(&operation).await;
    let moved = moved(&layer).await;
    assert_eq!((&moved.from_cluster, moved.port, moved.write_pause_milliseconds), (&old, port, 7));
    assert_eq!(layer.finished(&operation).await.detail.as_deref(), Some("writes waited for 7 ms"));
    layer.until("the old cluster is gone", |view| view.cluster(&old).is_none()).await;
    assert!(layer.connects(&binding).await);
    assert_eq!(layer.password(&binding).await, password);
    assert_eq!(layer.view().cluster(&moved.cluster).unwrap().port, port);
    layer.check_journal().await;
    // Whatever could be done before can be done again.
    layer.succeeded(&layer.rotate(&binding, 0).await).await;
    layer.succeeded(&layer.relocate("shop").await).await;
    assert!(layer.connects(&binding).await);
    layer.succeeded(&layer.delete("shop", true).await).await;
    layer.check_journal().await;
}

#[tokio::test]
async fn faults_that_pass_are_tried_again_with_the_source_open() {
    let (layer, binding, _) = with_shop().await;
    for operation in [Operation::Follow, Operation::TakeOver, Operation::TakeOver] {
        layer.fake().fail_next(operation, EngineError::transient("the disk is full"));
    }
    layer.succeeded(&layer.relocate("shop").await).await;
    assert_eq!(times(&layer, Operation::Stay), 3);
    assert!(layer.connects(&binding).await);
}

#[tokio::test]
async fn a_fault_that_lasts_leaves_the_instance_where_it_was() {
    let (layer, binding, old) = with_shop().await;
    layer.fake().fail_next(Operation::Follow, EngineError::permanent("the formats differ", "move to another engine"));
    let (code, reason) = layer.failed(&layer.relocate("shop").await).await;
    assert_eq!((code.as_str(), reason.as_str()), ("move_failed", "the formats differ; move to another engine"));
    layer.until("the new cluster is gone", |view| view.clusters().count() == 1).await;
    assert_eq!(layer.instance("shop").cluster, old);
    assert!(layer.connects(&binding).await);

    layer.fake().fail_next(Operation::Start, EngineError::permanent("no program", "install it"));
    assert_eq!(layer.failed(&layer.relocate("shop").await).await.0, "move_failed");
    assert!(layer.connects(&binding).await);
    layer.succeeded(&layer.relocate("shop").await).await;
    layer.until("the others are gone", |view| view.clusters().count() == 1).await;
    layer.check_journal().await;
}

#[tokio::test]
async fn a_source_that_does_not_come_back_ends_the_move() {
    let (layer, binding, old) = with_shop().await;
    let hold = layer.fake().hold(Operation::Follow);
    let operation = layer.relocate("shop").await;
    layer.until("the new cluster serves", |view| view.clusters().filter(|c| c.identity.is_some()).count() == 2).await;
    for _ in 0..4 {
        layer.fake().fail_next(Operation::Start, EngineError::permanent("its data is damaged", "restore it"));
    }
    layer.fake().end_process(&old, "ended by signal 9");
    drop(hold);
    let (code, reason) = layer.failed(&operation).await;
    assert_eq!(code, "move_failed");
    assert!(reason.contains("does not run"), "{reason}");
    layer.until("the old one is started again", |view| view.instances().all(|i| i.moving.is_none())).await;
    layer.eventually("it serves again", || times(&layer, Operation::Start) > 6).await;
    drop(binding);
}

#[tokio::test]
async fn a_control_plane_killed_anywhere_goes_on() {
    for at in [Operation::Start, Operation::Follow, Operation::TakeOver] {
        let (layer, binding, old) = with_shop().await;
        let mut hold = layer.fake().hold(at);
        let operation = layer.relocate("shop").await;
        hold.reached(1).await;
        let ground = layer.kill().await;
        drop(hold);
        let layer = ground.start().await;
        layer.succeeded(&operation).await;
        layer.until("the old cluster is gone", |view| view.cluster(&old).is_none()).await;
        assert!(layer.connects(&binding).await, "killed in {at:?}");
        layer.check_journal().await;
    }
}

#[tokio::test]
async fn access_that_ends_during_a_move_ends_on_both_sides() {
    let (layer, binding, _) = with_shop().await;
    let (other, operation) = layer.bind("shop", 3600).await;
    layer.succeeded(&operation).await;
    let (port, password) =
        (layer.view().cluster(&layer.instance("shop").cluster).unwrap().port, layer.password(&other).await);
    // The new cluster has its copy, and does not get to take over.
    for _ in 0..3 {
        layer.fake().fail_next(Operation::TakeOver, EngineError::transient("much is written"));
    }
    let mut hold = layer.fake().hold(Operation::TakeOver);
    let moving = layer.relocate("shop").await;
    hold.reached(1).await;
    let unbinding = layer.unbind(&other).await;
    drop(hold);
    layer.succeeded(&unbinding).await;
    layer.succeeded(&moving).await;
    let can_connect = |instance: &str| layer.fake().can_connect(port, instance, &username(&other, 1), &password);
    assert!(!can_connect(layer.instance("shop").id.suffix()));
    assert!(layer.connects(&binding).await);
    let cluster = layer.instance("shop").cluster.clone();
    assert_eq!(layer.fake().statements(&cluster, &username(&other, 1)), None);
    let finished: Arc<_> = layer.finished(&moving).await;
    assert_eq!(finished.state, OperationState::Succeeded);
}
