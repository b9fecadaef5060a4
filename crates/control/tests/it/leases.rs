//! What time alone brings about.

use mainstay_domain::view::BindingState;
use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use mainstay_types::Timestamp;

use crate::harness::{Layer, shared, username};

#[tokio::test]
async fn rotation_overlaps_and_the_old_credential_ends_at_its_time() {
    let (layer, id) = Layer::with_bound("shop").await;
    let first = layer.password(&id).await;
    let instance = layer.instance("shop").id.clone();
    let connects = |generation, password: &str| {
        layer.fake().can_connect(7432, instance.suffix(), &username(&id, generation), password)
    };
    layer.succeeded(&layer.rotate(&id, 2).await).await;
    let second = layer.password(&id).await;
    assert_ne!(first, second);
    assert!(connects(1, &first) && connects(2, &second), "both work while they overlap");
    let session = layer.fake().open_session(7432, instance.suffix(), &username(&id, 2), &second).unwrap();
    let retire_at = layer.binding(&id).credential(1).unwrap().retire_at.unwrap();

    let retired = layer.event("v1.binding.credential-retired").await;
    assert!(retired.time >= retire_at && retired.time.seconds_since(retire_at) < 20.0, "{retired:?}");
    assert!(!connects(1, &first) && connects(2, &second));
    assert!(layer.fake().session_is_open(session));
    assert_eq!(layer.passwords_kept().await, [format!("binding/{id}/2")]);

    // Without an overlap the old one ends at once.
    layer.succeeded(&layer.rotate(&id, 0).await).await;
    layer.until("only the third is left", |view| view.binding(&id).unwrap().credentials.len() == 1).await;
    assert!(!connects(2, &second) && !layer.fake().session_is_open(session));
    assert!(layer.connects(&id).await);
}

#[tokio::test]
async fn a_lease_that_ends_revokes() {
    let (layer, kept) = Layer::with_bound("shop").await;
    let (id, operation) = layer.bind("shop", 1).await;
    layer.succeeded(&operation).await;
    let expires_at = layer.binding(&id).expires_at;
    let expired = layer.event("v1.binding.expired").await;
    assert!(expired.time >= expires_at);
    layer.event("v1.binding.revoked").await;
    assert!(layer.view().binding(&id).is_none());
    assert_eq!(layer.passwords_kept().await, [format!("binding/{kept}/1")]);
    assert!(layer.connects(&kept).await);
}

#[tokio::test]
async fn a_lease_ends_while_its_cluster_is_down() {
    let (layer, _) = Layer::with_bound("shop").await;
    let (id, operation) = layer.bind("shop", 1).await;
    layer.succeeded(&operation).await;
    let hold = layer.fake().hold(Operation::Start);
    for _ in 0..3 {
        layer.fake().fail_next(Operation::Start, EngineError::permanent("the disk is gone", "put it back"));
    }
    layer.fake().end_process(&shared(), "the disk is gone");
    drop(hold);
    // The end of the lease is on record although nothing can be done about it yet.
    let expired = layer.event("v1.binding.expired").await;
    let revoked = layer.event("v1.binding.revoked").await;
    assert!(expired.sequence < revoked.sequence);
    assert!(layer.view().binding(&id).is_none());
}

#[tokio::test]
async fn a_lease_that_was_renewed_goes_on() {
    let (layer, _) = Layer::with_bound("shop").await;
    let (id, operation) = layer.bind("shop", 2).await;
    layer.succeeded(&operation).await;
    let end = layer.binding(&id).expires_at;
    let renew = mainstay_domain::command::RenewBinding {
        tenant: crate::harness::tenant(),
        id: id.clone(),
        lease_seconds: Some(3600),
    };
    layer.submit(renew).await.unwrap();
    layer.event("v1.binding.adjusted").await;
    layer.eventually("its first lease is over", || Timestamp::now() > end).await;
    layer.bound("next").await;
    assert_eq!(layer.binding(&id).state, BindingState::Ready);
    assert!(layer.connects(&id).await);
}

#[tokio::test]
async fn what_is_unbound_while_the_engine_is_down_is_unbound_once_it_is_back() {
    let (layer, id) = Layer::with_bound("shop").await;
    let mut hold = layer.fake().hold(Operation::Start);
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    hold.reached(1).await;
    let operation = layer.unbind(&id).await;
    assert!(!layer.view().operation(&operation).unwrap().is_finished());
    assert_eq!(layer.binding(&id).state, BindingState::Revoking);
    drop(hold);
    layer.succeeded(&operation).await;
    assert!(layer.view().binding(&id).is_none());
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
}
