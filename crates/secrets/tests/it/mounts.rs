//! Mounts come, change and go, and take nothing with them that is not theirs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_secrets::Method;
use serde_json::json;

use crate::core::{Client, Core};
use crate::vending::Gate;

#[tokio::test]
async fn auth_methods_go_through_their_own_path_alone() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/auth/door", json!({ "type": "door" })).await.expect(204);
    let policy = r#"path "sys/mounts/*" { capabilities = ["create", "read", "update", "delete"] }"#;
    let client = core.client_with(&admin, "mounter", policy).await;
    core.call(&client, Method::Delete, "sys/mounts/auth/door", json!({})).await.refused(400);
    core.post(&client, "sys/mounts/auth/other", json!({ "type": "kv" })).await.refused(400);
    // Its settings may be seen there, as in Vault.
    core.get(&client, "sys/mounts/auth/door/tune").await.expect(200);
    core.call(&client, Method::Delete, "sys/auth/door", json!({})).await.refused(403);
    core.post(&admin, "auth/door/login", json!({})).await.expect(200);
    let moved = json!({ "from": "secret/", "to": "auth/secret/" });
    core.post(&admin, "sys/remount", moved).await.refused(400);
}

#[tokio::test]
async fn a_mount_that_cannot_go_yet_keeps_no_other_from_going() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/mounts/vending", json!({ "type": "vending" })).await.expect(204);
    core.get(&admin, "vending/can").await.expect(200);
    core.vending.is_down.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        core.call(&admin, Method::Delete, "sys/mounts/vending", json!({})).await.refused(503);
    }
    core.get(&admin, "vending/can").await.refused(404);
    core.call(&admin, Method::Delete, "sys/mounts/secret", json!({})).await.expect(204);
    core.vending.is_down.store(false, Ordering::SeqCst);
    core.call(&admin, Method::Delete, "sys/mounts/vending", json!({})).await.expect(204);
    assert!(core.vending.out.lock().unwrap().is_empty());
    core.post(&admin, "sys/mounts/vending", json!({ "type": "vending" })).await.expect(204);
    core.get(&admin, "vending/can").await.expect(200);
}

#[tokio::test]
async fn a_mount_waits_for_the_requests_in_it() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/mounts/vending", json!({ "type": "vending" })).await.expect(204);
    let gate = Arc::new(Gate::default());
    *core.vending.gate.lock().unwrap() = Some(gate.clone());
    let removed = async {
        gate.entered.notified().await;
        let remove = core.call(&admin, Method::Delete, "sys/mounts/vending", json!({}));
        let (removed, ()) = tokio::join!(remove, async { gate.go_on.notify_one() });
        removed.expect(204);
    };
    let (answer, ()) = tokio::join!(core.get(&admin, "vending/can"), removed);
    answer.refused(404);
    assert!(core.vending.out.lock().unwrap().is_empty());
}
