//! What another hand has done is seen, mended, and on record with its cause.

use mainstay_control::SubmitError;
use mainstay_domain::command::{Rejection, RotateBinding};
use mainstay_domain::event::Body;
use mainstay_domain::view::InstanceState;
use mainstay_engine::fake::Operation;
use mainstay_engine::supervise::RestartPolicy;

use crate::harness::{Ground, Layer, request, shared, tenant, username};

#[tokio::test]
async fn an_engine_that_ends_serves_again_and_one_event_says_so() {
    let (layer, binding) = Layer::with_bound("shop").await;
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    layer.event("v1.engine.restarted").await;
    assert!(layer.connects(&binding).await);
    // Whatever happens next on the cluster comes after all that the end brought about.
    layer.bound("next").await;
    let restarts = layer.restarts().await;
    assert_eq!(restarts.len(), 1, "{restarts:?}");
    assert_eq!(restarts[0].cause, "it was killed by signal 9");
    let kinds = layer.kinds().await;
    assert!(!kinds.iter().any(|kind| kind.contains("degraded") || kind.contains("failed")), "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "v1.engine.started"), "{kinds:?}");
}

/// The look at the cluster and the wait for its end race; whichever wins, the end is on record once.
#[tokio::test]
async fn every_end_is_one_event_whoever_notices_it_first() {
    let mut ground = Ground::in_memory().await;
    ground.tempo.restarts = RestartPolicy { delays_millis: &[0], give_up_after: 1000, ..ground.tempo.restarts };
    let layer = ground.start().await;
    layer.bound("shop").await;
    for round in 1..=30 {
        let mut hold = layer.fake().hold(Operation::Observe);
        hold.reached(1).await;
        layer.fake().end_process(&shared(), &format!("end {round}"));
        drop(hold);
        layer.nth(round, "v1.engine.restarted").await;
    }
    layer.bound("next").await;
    let causes: Vec<_> = layer.restarts().await.into_iter().map(|restarted| restarted.cause).collect();
    assert_eq!(causes, (1..=30).map(|round| format!("end {round}")).collect::<Vec<_>>());
    assert_eq!(layer.count("v1.engine.started").await, 0);
}

#[tokio::test]
async fn a_dropped_credential_comes_back_with_the_same_password() {
    let (layer, binding) = Layer::with_bound("shop").await;
    let password = layer.password(&binding).await;
    layer.fake().drop_credential(&shared(), &username(&binding, 1));
    let repaired = layer.event("v1.binding.repaired").await;
    match repaired.body().unwrap() {
        Body::BindingRepaired(repaired) => {
            assert_eq!(repaired.generation, 1);
            assert_eq!(repaired.cause, "the credential was missing in the engine");
        }
        body => panic!("{body:?}"),
    }
    assert!(layer.connects(&binding).await);
    assert_eq!(layer.password(&binding).await, password);

    layer.fake().drift_credential(&shared(), &username(&binding, 1), "it may not log in");
    layer
        .eventually("the credential works again", || {
            let instance = layer.instance("shop");
            layer.fake().can_connect(7432, instance.id.suffix(), &username(&binding, 1), &password)
        })
        .await;
    layer.bound("next").await;
    assert_eq!(layer.count("v1.binding.repaired").await, 2, "one event for each repair");
}

#[tokio::test]
async fn changed_settings_are_brought_back() {
    let (layer, _) = Layer::with_bound("shop").await;
    layer.fake().change_setting(&shared(), "fsync was switched off");
    match layer.event("v1.engine.reconfigured").await.body().unwrap() {
        Body::EngineReconfigured(reconfigured) => assert_eq!(reconfigured.changes, ["fsync was switched off"]),
        body => panic!("{body:?}"),
    }
    layer.bound("next").await;
    assert_eq!(layer.count("v1.engine.reconfigured").await, 1);
}

#[tokio::test]
async fn a_drifted_instance_is_brought_back() {
    let (layer, binding) = Layer::with_bound("shop").await;
    let instance = layer.instance("shop");
    layer.fake().drift_instance(&shared(), &instance.id, "PUBLIC may connect to it");
    match layer.event("v1.instance.repaired").await.body().unwrap() {
        Body::InstanceRepaired(repaired) => assert_eq!(repaired.cause, "PUBLIC may connect to it"),
        body => panic!("{body:?}"),
    }
    assert!(layer.connects(&binding).await);
}

#[tokio::test]
async fn an_instance_that_vanished_is_not_made_anew() {
    let (layer, binding) = Layer::with_bound("shop").await;
    let instance = layer.instance("shop");
    let provisioned = || layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Provision).count();
    let before = provisioned();
    layer.fake().drop_instance(&shared(), &instance.id);
    layer.event("v1.instance.failed").await;
    let failed = layer.instance("shop");
    assert_eq!(failed.state, InstanceState::Failed);
    let reason = failed.reason.clone().unwrap();
    assert!(
        reason.contains("no longer on cluster postgresql-shared") && reason.contains("mainstay delete shop"),
        "{reason}"
    );
    layer.bound("next").await;
    assert_eq!(provisioned(), before + 1, "only the next instance is made");
    assert!(!layer.connects(&binding).await);
    let rotate = RotateBinding { request: request(), tenant: tenant(), id: binding, overlap_seconds: None };
    match layer.submit(rotate).await {
        Err(SubmitError::Rejected(Rejection::InstanceFailed { .. })) => {}
        answer => panic!("a new credential is not made on what has failed: {answer:?}"),
    }

    // It can be deleted, and its name used again.
    layer.succeeded(&layer.delete("shop", true).await).await;
    assert!(layer.connects(&layer.bound("shop").await).await);
}
