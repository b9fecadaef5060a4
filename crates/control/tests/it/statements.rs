//! Bindings with statements: made with them, repaired with them, failed by them.

use mainstay_domain::command::CreateBinding;
use mainstay_domain::view::BindingState;
use mainstay_engine::fake::{Operation, REFUSED_STATEMENT};
use mainstay_types::{BindingId, OperationId, Plan};

use crate::harness::{Layer, bind, shared, username};

async fn bind_with(layer: &Layer, statement: &str) -> (BindingId, OperationId) {
    let command = CreateBinding { statements: Some(vec![statement.to_owned()]), ..bind("shop", 3600) };
    let id = command.id.clone();
    (id, layer.submit(command).await.unwrap().operation.unwrap())
}

#[tokio::test]
async fn a_binding_keeps_its_statements_over_repairs_and_restarts() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    let mut hold = layer.fake().hold(Operation::Bind);
    let (id, operation) = bind_with(&layer, "ALLOW").await;
    hold.reached(1).await;
    let ground = layer.kill().await;
    drop(hold);
    let layer = ground.start().await;
    layer.succeeded(&operation).await;
    let made_with = |layer: &Layer| layer.fake().statements(&shared(), &username(&id, 1));
    assert_eq!(made_with(&layer), Some(vec!["ALLOW".to_owned()]));

    let layer = layer.kill().await.start().await;
    layer.fake().drop_credential(&shared(), &username(&id, 1));
    layer.event("v1.binding.repaired").await;
    assert_eq!(made_with(&layer), Some(vec!["ALLOW".to_owned()]), "it is not made into the owner's");
    assert!(layer.connects(&id).await);
}

#[tokio::test]
async fn statements_that_are_refused_fail_the_binding_with_the_engine_s_words() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    let (id, operation) = bind_with(&layer, REFUSED_STATEMENT).await;
    let (code, detail) = layer.failed(&operation).await;
    assert_eq!((code.as_str(), detail.as_str()), ("binding_failed", "\"REFUSE\" is refused; change the statement"));
    assert_eq!(layer.binding(&id).state, BindingState::Failed);
    assert_eq!(layer.passwords_kept().await, Vec::<String>::new());
    layer.succeeded(&layer.unbind(&id).await).await;
}

/// What can not be brought back is tried again at its own pace, and explained meanwhile.
#[tokio::test]
async fn a_repair_that_is_refused_is_tried_again() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    let (id, operation) = bind_with(&layer, "ALLOW").await;
    layer.succeeded(&operation).await;
    let refused = || mainstay_engine::EngineError::permanent("the table is gone", "make it again");
    layer.fake().fail_next(Operation::Bind, refused());
    layer.fake().fail_next(Operation::Bind, refused());
    layer.fake().drop_credential(&shared(), &username(&id, 1));
    let instance = layer.instance("shop").id.clone();
    let explained = || layer.control.trouble_with(&instance).is_some_and(|why| why.contains("the table is gone"));
    layer.eventually("there is an explanation", explained).await;
    layer.event("v1.binding.repaired").await;
    assert!(layer.connects(&id).await);
    assert_eq!(layer.binding(&id).state, BindingState::Ready);
}

#[tokio::test]
async fn what_is_revoked_while_the_engine_is_down_is_gone_once_it_is_back() {
    let layer = Layer::in_memory().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    let (id, operation) = bind_with(&layer, "ALLOW").await;
    layer.succeeded(&operation).await;
    let mut hold = layer.fake().hold(Operation::Start);
    layer.fake().end_process(&shared(), "it was killed by signal 9");
    hold.reached(1).await;
    let end = layer.unbind(&id).await;
    let ground = layer.kill().await;
    drop(hold);
    let layer = ground.start().await;
    layer.succeeded(&end).await;
    assert!(layer.view().binding(&id).is_none());
    assert_eq!(layer.fake().statements(&shared(), &username(&id, 1)), None);
}
