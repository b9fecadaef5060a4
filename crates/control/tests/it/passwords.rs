//! New passwords under names that stay.

use mainstay_engine::EngineError;
use mainstay_engine::fake::Operation;
use mainstay_types::BindingId;

use crate::harness::{Layer, shared, username};

/// Whether a client that knows the binding's first name could connect with a password.
fn connects(layer: &Layer, id: &BindingId, password: &str) -> bool {
    layer.fake().can_connect(7432, layer.instance("shop").id.suffix(), &username(id, 1), password)
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one_under_the_same_name() {
    let (layer, id) = Layer::with_bound("shop").await;
    let first = layer.password(&id).await;
    let instance = layer.instance("shop").id.clone();
    let session = layer.fake().open_session(7432, instance.suffix(), &username(&id, 1), &first).unwrap();
    layer.succeeded(&layer.replace_password(&id).await).await;
    let second = layer.password(&id).await;
    assert!(first != second && connects(&layer, &id, &second) && !connects(&layer, &id, &first));
    assert!(layer.fake().session_is_open(session), "sessions go on");

    // Only the record of the old one is removed: the name in the engine is the new one's.
    layer.event("v1.binding.credential-retired").await;
    assert_eq!(layer.passwords_kept().await, [format!("binding/{id}/2")]);
    assert!(!layer.fake().calls().iter().any(|(call, _)| *call == Operation::Unbind));
    assert!(connects(&layer, &id, &second));

    // Repair and the end are of that name too.
    layer.fake().drop_credential(&shared(), &username(&id, 1));
    layer.event("v1.binding.repaired").await;
    assert!(connects(&layer, &id, &second));
    layer.succeeded(&layer.replace_password(&id).await).await;
    let third = layer.password(&id).await;
    layer.succeeded(&layer.unbind(&id).await).await;
    assert!(!connects(&layer, &id, &second) && !connects(&layer, &id, &third));
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
}

/// Killed while the engine is told: what is handed out until the new password is on record is the old one, and the
/// next control plane tells the engine the same new one again.
#[tokio::test]
async fn a_replacement_that_was_interrupted_is_finished() {
    let (layer, id) = Layer::with_bound("shop").await;
    let first = layer.password(&id).await;
    let mut hold = layer.fake().hold(Operation::Bind);
    let operation = layer.replace_password(&id).await;
    hold.reached(1).await;
    assert_eq!(layer.password(&id).await, first, "the old one until the new one is known to work");
    assert!(connects(&layer, &id, &first));
    let ground = layer.kill().await;
    drop(hold);
    let layer = ground.start().await;
    layer.succeeded(&operation).await;
    let second = layer.password(&id).await;
    assert!(first != second && connects(&layer, &id, &second) && !connects(&layer, &id, &first));
    layer.until("one is left", |view| view.binding(&id).unwrap().credentials.len() == 1).await;
    assert_eq!(layer.passwords_kept().await, [format!("binding/{id}/2")]);
    layer.check_journal().await;
}

#[tokio::test]
async fn a_new_password_that_is_refused_leaves_the_old_one() {
    let (layer, id) = Layer::with_bound("shop").await;
    let first = layer.password(&id).await;
    layer.fake().fail_next(Operation::Bind, EngineError::permanent("the server is read-only", "make it writable"));
    assert_eq!(layer.failed(&layer.replace_password(&id).await).await.0, "binding_failed");
    assert_eq!(layer.password(&id).await, first);
    assert!(connects(&layer, &id, &first));
    layer.succeeded(&layer.replace_password(&id).await).await;
    assert!(layer.connects(&id).await);
}

#[tokio::test]
async fn a_binding_that_is_revoked_while_its_password_is_replaced_is_gone() {
    let (layer, id) = Layer::with_bound("shop").await;
    let mut hold = layer.fake().hold(Operation::Start);
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    hold.reached(1).await;
    let replacement = layer.replace_password(&id).await;
    let end = layer.unbind(&id).await;
    drop(hold);
    layer.succeeded(&end).await;
    assert_eq!(layer.failed(&replacement).await.0, "binding_not_ready");
    assert!(layer.view().binding(&id).is_none());
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
    assert!(layer.fake().statements(&shared(), &username(&id, 1)).is_none());
}
