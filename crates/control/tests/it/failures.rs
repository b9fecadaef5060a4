//! What fails is tried again, explained meanwhile, or given up with a reason.

use std::time::Duration;

use mainstay_domain::event::Body;
use mainstay_domain::view::{BindingState, ClusterState, InstanceState, VisibleState};
use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use mainstay_types::Plan;

use crate::harness::{Layer, shared};

#[tokio::test]
async fn an_engine_that_keeps_ending_is_given_up_and_heals_by_itself() {
    let (layer, binding) = Layer::with_bound("shop").await;
    for round in 1..=2 {
        layer.fake().end_process(&shared(), "it was killed by signal 11");
        layer.nth(round, "v1.engine.restarted").await;
    }
    layer.fake().end_process(&shared(), "it was killed by signal 11");
    let failed = layer.event("v1.cluster.failed").await;
    let Body::ClusterFailed(body) = failed.body().unwrap() else { panic!("{failed:?}") };
    assert_eq!(body.reason, "it ended 3 times within 60 s, the last time because it was killed by signal 11");
    assert_eq!(layer.cluster().state, ClusterState::Failed);
    // Consumers who ask now are told.
    let (state, why) = (layer.instance("shop"), layer.cluster());
    let (state, why) = state.visible_state(Some(&why));
    assert_eq!((state, why), (VisibleState::Failed, Some(body.reason.as_str())));

    // Later it is tried once more, and an event says that it serves.
    let healed = layer.nth(3, "v1.engine.restarted").await;
    assert!(healed.time.seconds_since(failed.time) >= 0.9, "not at once: {failed:?} {healed:?}");
    assert_eq!(layer.cluster().state, ClusterState::Ready);
    assert!(layer.connects(&binding).await);
    assert_eq!((layer.restarts().await.len(), layer.count("v1.cluster.failed").await), (3, 1));
}

#[tokio::test]
async fn a_cluster_that_can_not_be_started_fails_what_waits_for_it_and_heals() {
    let layer = Layer::in_memory().await;
    for _ in 0..3 {
        let error = EngineError::permanent("port 7432 is taken by another process", "end it, or choose another port");
        layer.fake().fail_next(Operation::Start, error);
    }
    let hold = layer.fake().hold(Operation::Start);
    let create = layer.create("shop", Plan::Shared).await;
    let (binding, bind) = layer.bind("shop", 3600).await;
    drop(hold);
    let (code, detail) = layer.failed(&create).await;
    assert_eq!(code, "cluster_failed");
    assert_eq!(detail, "port 7432 is taken by another process; end it, or choose another port");
    assert_eq!(layer.failed(&bind).await, (code, detail.clone()));
    let failed = layer.event("v1.cluster.failed").await;
    assert_eq!(failed.subject.id, "postgresql-shared");

    // Nothing is lost: once the cluster can be started, all that was asked for is there.
    let view = layer.until("it is bound", |view| view.binding(&binding).unwrap().state == BindingState::Ready).await;
    assert_eq!(view.cluster(&shared()).unwrap().state, ClusterState::Ready);
    assert!(layer.connects(&binding).await);
    assert_eq!(layer.count("v1.cluster.failed").await, 1, "the same failure is no news");
    assert_eq!(layer.count("v1.cluster.ready").await, 1);
}

#[tokio::test]
async fn a_start_that_fails_for_a_while_is_a_degraded_cluster() {
    let (layer, binding) = Layer::with_bound("shop").await;
    layer.fake().fail_next(Operation::Start, EngineError::transient("the server is still in recovery"));
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    let degraded = layer.event("v1.cluster.degraded").await;
    assert_eq!(degraded.subject.id, "postgresql-shared");
    layer.event("v1.engine.restarted").await;
    assert!(layer.connects(&binding).await);
    assert_eq!(layer.cluster().state, ClusterState::Ready);
    assert_eq!(layer.count("v1.cluster.failed").await, 0);
}

/// A start that neither ends nor fails: consumers are told that nothing serves.
#[tokio::test]
async fn a_start_that_takes_long_is_a_degraded_cluster() {
    let (layer, _) = Layer::with_bound("shop").await;
    let mut hold = layer.fake().hold(Operation::Start);
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    hold.reached(1).await;
    assert_eq!(layer.cluster().state, ClusterState::Ready, "a quick restart is no state of its own");
    layer.event("v1.cluster.degraded").await;
    let reason = layer.cluster().reason.clone().unwrap();
    assert_eq!(reason, "its process ended, and it is being started: it was killed by signal 9");
    drop(hold);
    layer.event("v1.engine.restarted").await;
    assert_eq!((layer.cluster().state, layer.cluster().reason.clone()), (ClusterState::Ready, None));
    assert_eq!(layer.count("v1.cluster.degraded").await, 1);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_degraded_and_recovers() {
    let (layer, binding) = Layer::with_bound("shop").await;
    layer.fake().fail_next(Operation::Observe, EngineError::transient("no answer within 10 s"));
    layer.event("v1.cluster.degraded").await;
    layer.event("v1.cluster.recovered").await;
    assert!(layer.connects(&binding).await);
    assert_eq!(layer.restarts().await.len(), 0);
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again_and_explained() {
    let layer = Layer::in_memory().await;
    for _ in 0..3 {
        layer.fake().fail_next(Operation::Provision, EngineError::transient("no room on the disk of the cluster"));
    }
    let create = layer.create("shop", Plan::Shared).await;
    let id = layer.instance("shop").id.clone();
    layer.eventually("there is an explanation", || layer.control.trouble_with(&id).is_some()).await;
    let trouble = layer.control.trouble_with(&id).unwrap();
    assert_eq!(trouble, "the engine could not do it: no room on the disk of the cluster");
    layer.succeeded(&create).await;
    layer.eventually("the explanation is gone", || layer.control.trouble_with(&id).is_none()).await;
    let tries = layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Provision).count();
    assert_eq!(tries, 4);
    let operation = layer.view().operation(&create).unwrap().clone();
    let took = operation.finished_at.unwrap().seconds_since(operation.created_at);
    assert!(took >= 0.2 + 0.4 + 0.8, "the tries are spaced out: {took} s");

    for operation in [Operation::Bind, Operation::Unbind, Operation::Deprovision] {
        layer.fake().fail_next(operation, EngineError::transient("the connection broke"));
    }
    let (binding, bind) = layer.bind("shop", 3600).await;
    layer.succeeded(&bind).await;
    assert!(layer.connects(&binding).await);
    layer.succeeded(&layer.delete("shop", true).await).await;
}

#[tokio::test]
async fn a_removal_that_fails_for_a_while_is_tried_again_and_explained() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Dedicated).await).await;
    let id = layer.instance("shop").id.clone();
    layer.fake().fail_next(Operation::Remove, EngineError::transient("a process of it does not end"));
    layer.fake().fail_next(Operation::Remove, EngineError::transient("a process of it does not end"));
    let deletion = layer.delete("shop", false).await;
    layer
        .eventually("there is an explanation", || {
            layer.control.trouble_with(&id).is_some_and(|trouble| trouble.contains("does not end"))
        })
        .await;
    layer.succeeded(&deletion).await;
}

#[tokio::test]
async fn an_instance_that_is_refused_has_failed_with_the_reason() {
    let layer = Layer::in_memory().await;
    let mut hold = layer.fake().hold(Operation::Start);
    layer.fake().fail_next(Operation::Provision, EngineError::permanent("the template is damaged", "make it anew"));
    let create = layer.create("shop", Plan::Shared).await;
    let (binding, bind) = layer.bind("shop", 3600).await;
    hold.reached(1).await;
    drop(hold);
    let (code, detail) = layer.failed(&create).await;
    assert_eq!((code.as_str(), detail.as_str()), ("instance_failed", "the template is damaged; make it anew"));
    assert_eq!(layer.failed(&bind).await, (code, detail.clone()), "what waited for it does not wait on");
    assert_eq!(layer.binding(&binding).state, BindingState::Failed);
    let instance = layer.instance("shop");
    assert_eq!((instance.state, instance.reason.as_deref()), (InstanceState::Failed, Some(detail.as_str())));
    layer.succeeded(&layer.delete("shop", false).await).await;
}

#[tokio::test]
async fn a_binding_that_is_refused_has_failed_with_the_reason() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    layer.fake().fail_next(Operation::Bind, EngineError::permanent("roles are limited to 100", "unbind some"));
    let (id, bind) = layer.bind("shop", 3600).await;
    let (code, detail) = layer.failed(&bind).await;
    assert_eq!((code.as_str(), detail.as_str()), ("binding_failed", "roles are limited to 100; unbind some"));
    assert_eq!(layer.binding(&id).state, BindingState::Failed);
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new(), "no password without a credential");
    layer.succeeded(&layer.unbind(&id).await).await;
}

#[tokio::test]
async fn a_rotation_that_is_refused_leaves_the_old_credential() {
    let (layer, id) = Layer::with_bound("shop").await;
    layer.fake().fail_next(Operation::Bind, EngineError::permanent("roles are limited to 100", "unbind some"));
    assert_eq!(layer.failed(&layer.rotate(&id, 0).await).await.0, "binding_failed");
    assert_eq!(layer.binding(&id).state, BindingState::Ready);
    assert!(layer.connects(&id).await);
    assert_eq!(layer.passwords_kept().await, [format!("binding/{id}/1")]);
    layer.succeeded(&layer.rotate(&id, 0).await).await;
    assert!(layer.connects(&id).await);
}

#[tokio::test]
async fn settings_that_do_not_come_back_hold_up_nothing_else() {
    let (layer, _) = Layer::with_bound("shop").await;
    for _ in 0..40 {
        layer.fake().fail_next(Operation::Reconfigure, EngineError::transient("the file is read-only"));
    }
    layer.fake().change_setting(&shared(), "fsync was switched off");
    layer
        .eventually("it was tried", || layer.fake().calls().iter().any(|(call, _)| *call == Operation::Reconfigure))
        .await;
    let binding = tokio::time::timeout(Duration::from_secs(10), layer.bound("next")).await.unwrap();
    assert!(layer.connects(&binding).await);
}
