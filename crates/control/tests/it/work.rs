//! What is asked for is done, in order, and on record.

use mainstay_control::SubmitError;
use mainstay_domain::command::Rejection;
use mainstay_domain::event::Actor;
use mainstay_domain::view::InstanceState;
use mainstay_engine::fake::Operation;
use mainstay_types::Plan;

use crate::harness::{Layer, delete, tenant, user};

#[tokio::test]
async fn an_instance_is_made_and_bound() {
    let layer = Layer::in_memory().await;
    // Asked for at once: the binding waits for the instance, and the instance for its cluster.
    let hold = layer.fake().hold(Operation::Start);
    let create = layer.create("shop", Plan::Shared).await;
    let (binding, bind) = layer.bind("shop", 3600).await;
    drop(hold);
    layer.succeeded(&create).await;
    layer.succeeded(&bind).await;

    let events = layer.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "v1.operation.started",
            "v1.cluster.requested",
            "v1.instance.requested",
            "v1.operation.started",
            "v1.binding.requested",
            "v1.cluster.ready",
            "v1.instance.ready",
            "v1.operation.succeeded",
            "v1.binding.created",
            "v1.operation.succeeded",
        ]
    );
    assert!(events[..5].iter().all(|event| event.actor == user()), "asked for from outside");
    assert!(events[5..].iter().all(|event| event.actor == Actor::System), "done by the layer");
    assert!(layer.connects(&binding).await);
    layer.check_journal().await;

    layer.succeeded(&layer.unbind(&binding).await).await;
    assert!(!layer.connects(&binding).await);
    layer.succeeded(&layer.delete("shop", false).await).await;
    let view = layer.view();
    assert_eq!((view.instances().count(), view.bindings().count()), (0, 0));
    assert!(view.cluster(&crate::harness::shared()).is_some(), "the shared cluster stays for the next instance");
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
}

#[tokio::test]
async fn many_are_made_at_the_same_time() {
    let layer = Layer::in_memory().await;
    let mut hold = layer.fake().hold(Operation::Provision);
    let mut operations = Vec::new();
    for number in 0..20 {
        operations.push(layer.create(&format!("i{number}"), Plan::Shared).await);
    }
    // As many as the engine is to be given at once, and no more; the rest follow.
    hold.reached(8).await;
    drop(hold);
    for operation in operations {
        layer.succeeded(&operation).await;
    }
    let provisioned = layer.fake().calls().iter().filter(|(operation, _)| *operation == Operation::Provision).count();
    assert_eq!(provisioned, 20, "each is made once");
}

#[tokio::test]
async fn an_instance_with_bindings_is_deleted_by_force_only() {
    let (layer, binding) = Layer::with_bound("shop").await;
    match layer.submit(delete("shop", false)).await {
        Err(SubmitError::Rejected(Rejection::InstanceHasBindings { count: 1, .. })) => {}
        answer => panic!("{answer:?}"),
    }
    let before = layer.view().sequence();
    layer.succeeded(&layer.delete("shop", true).await).await;
    let events = layer.control.journal().read(before, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "v1.operation.started",
            "v1.binding.revocation-requested",
            "v1.instance.deletion-requested",
            "v1.binding.credential-retired",
            "v1.binding.revoked",
            "v1.instance.deleted",
            "v1.operation.succeeded",
        ]
    );
    assert!(!layer.connects(&binding).await);
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dedicated_instance_takes_its_cluster_with_it() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Dedicated).await).await;
    let (binding, operation) = layer.bind("shop", 3600).await;
    layer.succeeded(&operation).await;
    let cluster = layer.view().cluster(&layer.instance("shop").cluster).unwrap().clone();
    assert_eq!((cluster.port, cluster.tenant.clone()), (7500, Some(tenant())));
    assert!(layer.connects(&binding).await);

    layer.succeeded(&layer.delete("shop", true).await).await;
    let view = layer.view();
    assert_eq!((view.clusters().count(), view.instances().count(), view.bindings().count()), (0, 0, 0));
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
    assert!(layer.fake().calls().contains(&(Operation::Remove, cluster.name.to_string())));

    // The port and the name are free again.
    layer.succeeded(&layer.create("shop", Plan::Dedicated).await).await;
    assert_eq!(layer.instance("shop").state, InstanceState::Ready);
    assert_eq!(layer.view().clusters().next().unwrap().port, 7500);
}

#[tokio::test]
async fn what_is_deleted_before_it_was_made_ends_well() {
    let layer = Layer::in_memory().await;
    let mut hold = layer.fake().hold(Operation::Start);
    let create = layer.create("shop", Plan::Dedicated).await;
    let (_, bind) = layer.bind("shop", 3600).await;
    hold.reached(1).await;
    let deletion = layer.delete("shop", true).await;
    assert_eq!(layer.failed(&create).await.0, "instance_deleting");
    assert_eq!(layer.failed(&bind).await.0, "binding_not_ready");
    drop(hold);
    layer.succeeded(&deletion).await;
    assert_eq!((layer.view().clusters().count(), layer.view().bindings().count()), (0, 0));
}
