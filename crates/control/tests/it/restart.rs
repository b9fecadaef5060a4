//! The control plane is killed wherever it stands, and the next one finishes the work.

use mainstay_engine::fake::Operation;
use mainstay_types::Plan;

use crate::harness::{Layer, shared};

#[tokio::test]
async fn the_next_control_plane_adopts_what_runs() {
    let (layer, binding) = Layer::with_bound("shop").await;
    let password = layer.password(&binding).await;
    let session = {
        let instance = layer.instance("shop");
        layer.fake().open_session(7432, instance.id.suffix(), &crate::harness::username(&binding, 1), &password)
    };
    let view = layer.view();
    let layer = layer.kill().await.start().await;
    assert_eq!(layer.view(), view);
    assert!(layer.fake().session_is_open(session.unwrap()));
    assert_eq!(layer.password(&binding).await, password);
    layer.bound("next").await;
    assert!(layer.connects(&binding).await);
    let starts = layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Start).count();
    assert_eq!(starts, 1, "a cluster that serves is not started again");
    assert_eq!(layer.restarts().await.len(), 0);
}

#[tokio::test]
async fn an_engine_that_ended_meanwhile_is_started() {
    let (layer, binding) = Layer::with_bound("shop").await;
    let ground = layer.kill().await;
    ground.fake.end_process(&shared(), "it was killed by signal 9");
    let layer = ground.start().await;
    // Nobody saw how it ended, or whether somebody stopped it.
    layer.event("v1.engine.started").await;
    assert!(layer.connects(&binding).await);
}

/// Killed while each kind of step is with the engine: the step is repeated, and nothing is done by halves.
#[tokio::test]
async fn every_step_that_was_interrupted_is_finished() {
    use Operation::{Bind, Deprovision, Provision, Remove, Start, Unbind};
    for interrupted in [Start, Provision, Bind, Unbind, Deprovision, Remove] {
        let layer = Layer::in_memory().await;
        let plan = if interrupted == Remove { Plan::Dedicated } else { Plan::Shared };
        if matches!(interrupted, Unbind | Deprovision | Remove) {
            layer.succeeded(&layer.create("shop", plan).await).await;
            let (_, bind) = layer.bind("shop", 3600).await;
            layer.succeeded(&bind).await;
        }
        let mut hold = layer.fake().hold(interrupted);
        let operation = if matches!(interrupted, Unbind | Deprovision | Remove) {
            layer.delete("shop", true).await
        } else {
            let create = layer.create("shop", plan).await;
            layer.bind("shop", 3600).await;
            create
        };
        hold.reached(1).await;
        let ground = layer.kill().await;
        drop(hold);
        let layer = ground.start().await;
        layer.succeeded(&operation).await;
        layer.until("all work is done", |view| view.operations().all(|operation| operation.is_finished())).await;
        assert!(layer.view().operations().all(|o| o.state == mainstay_domain::view::OperationState::Succeeded));
        let bindings: Vec<_> = layer.view().bindings().map(|binding| binding.id.clone()).collect();
        for binding in &bindings {
            assert!(layer.connects(binding).await, "{interrupted:?}");
        }
        assert_eq!(layer.passwords_kept().await.len(), bindings.len(), "{interrupted:?}");
        layer.check_journal().await;
    }
}
