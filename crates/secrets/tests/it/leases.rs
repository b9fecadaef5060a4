//! Leases are kept: what was handed out is taken back, whatever happens meanwhile.

use std::sync::atomic::Ordering;

use mainstay_secrets::Method;
use mainstay_types::{Role, TenantScope};
use serde_json::{Value, json};

use crate::core::{Client, Core};
use crate::vending::{Gate, until};

/// A core with a machine.
async fn core() -> (Core, Client) {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/mounts/vending", json!({ "type": "vending" })).await.expect(204);
    (core, admin)
}

/// A can, and the id of its lease.
async fn can(core: &Core, client: &Client) -> (String, String) {
    let answer = core.get(client, "vending/can").await.expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["data"]["can"]), text(&answer["lease_id"]))
}

async fn gone(core: &Core, can: &str) {
    until("a can is back", async || !core.vending.is_out(can)).await;
}

#[tokio::test]
async fn an_engine_that_is_down_gets_all_back_when_it_is_up_again() {
    let (core, admin) = core().await;
    let client = core.token(&admin, json!({ "policies": ["admin"] })).await;
    let (one, lease) = can(&core, &client).await;
    core.vending.is_down.store(true, Ordering::SeqCst);
    let answer = core.post(&admin, "sys/leases/revoke", json!({ "lease_id": lease })).await.expect(200);
    assert!(answer["warnings"][0].as_str().unwrap().contains("the machine is down"), "{answer}");
    // Asked to wait for it, the answer is that it did not happen.
    core.post(&admin, "sys/leases/revoke", json!({ "lease_id": lease, "sync": true })).await.refused(503);
    let unrevoked = core.call(&admin, Method::Get, "sys/leases", json!({ "type": "irrevocable" })).await.expect(200);
    assert_eq!(unrevoked["data"]["lease_count"], 1, "{unrevoked}");
    assert_eq!(unrevoked["data"]["leases"][0]["error"], "the machine is down");
    assert_eq!(core.get(&admin, "sys/leases/count").await.expect(200)["data"]["lease_count"], 1);

    let core = core.restart().await;
    assert!(core.vending.is_out(&one));
    core.vending.is_down.store(false, Ordering::SeqCst);
    gone(&core, &one).await;
    until("nothing is listed", async || {
        let listed = core.call(&admin, Method::Get, "sys/leases", json!({ "type": "irrevocable" })).await;
        listed.expect(200)["data"]["lease_count"] == 0
    })
    .await;
}

#[tokio::test]
async fn a_mistake_in_an_engine_does_not_end_the_keeper() {
    let (core, admin) = core().await;
    core.vending.panics.store(true, Ordering::SeqCst);
    let answer = core.call(&admin, Method::Get, "vending/can", json!({ "ttl": "1s" })).await.expect(200);
    gone(&core, answer["data"]["can"].as_str().unwrap()).await;
    assert!(!core.vending.panics.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_engine_that_hangs_keeps_no_client_and_no_other_engine_waiting() {
    let (core, admin) = core().await;
    let client = core.token(&admin, json!({ "policies": ["admin"] })).await;
    for _ in 0..40 {
        can(&core, &client).await;
    }
    core.vending.hangs.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    core.post(&client, "auth/token/revoke-self", json!({})).await.expect(204);
    assert!(begun.elapsed().as_secs() < 15);
    core.get(&client, "auth/token/lookup-self").await.refused(403);
    // Whatever else is due is done meanwhile.
    core.vending.hangs.store(false, Ordering::SeqCst);
    let core = core.restart().await;
    until("all cans are back", async || core.vending.out.lock().unwrap().is_empty()).await;
}

#[tokio::test]
async fn what_is_handed_out_to_a_token_that_ends_meanwhile_is_taken_back() {
    let (core, admin) = core().await;
    let client = core.token(&admin, json!({ "policies": ["admin"] })).await;
    let gate = std::sync::Arc::new(Gate::default());
    *core.vending.gate.lock().unwrap() = Some(gate.clone());
    let asked = core.get(&client, "vending/can");
    let revoked = async {
        gate.entered.notified().await;
        core.post(&admin, "auth/token/revoke", json!({ "token": client.token() })).await.expect(204);
        gate.go_on.notify_one();
    };
    let (answer, ()) = tokio::join!(asked, revoked);
    answer.refused(403);
    assert!(core.vending.out.lock().unwrap().is_empty());
    assert_eq!(core.get(&admin, "sys/leases/count").await.expect(200)["data"]["lease_count"], 0);
}

#[tokio::test]
async fn the_last_use_of_a_token_takes_no_lease() {
    let (core, admin) = core().await;
    let client = core.token(&admin, json!({ "policies": ["admin"], "num_uses": 2 })).await;
    let (first, _) = can(&core, &client).await;
    let refused = core.get(&client, "vending/can").await.refused(400);
    assert!(refused.starts_with("Secret cannot be returned; token had one use left"), "{refused}");
    gone(&core, &first).await;
    assert!(core.vending.out.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_ends_or_sees_many_leases_needs_sudo() {
    let (core, admin) = core().await;
    let policy = r#"path "sys/leases*" { capabilities = ["read", "list", "update"] }"#;
    let client = core.client_with(&admin, "leases", policy).await;
    let (one, lease) = can(&core, &admin).await;
    for path in ["sys/leases/lookup", "sys/leases/lookup/", "sys/leases/lookup/vending/can"] {
        core.call(&client, Method::List, path, json!({})).await.refused(403);
    }
    for path in ["sys/leases", "sys/leases/"] {
        core.call(&client, Method::Get, path, json!({ "type": "irrevocable" })).await.refused(403);
    }
    for path in ["revoke-prefix", "revoke-prefix/vending", "revoke-force", "revoke-force/vending"] {
        core.post(&client, &format!("sys/leases/{path}"), json!({})).await.refused(403);
    }
    // With no prefix at all nobody ends everything.
    core.post(&admin, "sys/leases/revoke-prefix", json!({})).await.refused(404);
    assert!(core.vending.is_out(&one));
    // The folder of a path is meant, and not what only begins like it.
    core.post(&admin, "sys/leases/revoke-prefix/vending/ca", json!({})).await.expect(204);
    assert!(core.vending.is_out(&one));
    core.post(&admin, "sys/leases/revoke-prefix/vending/can", json!({})).await.expect(204);
    assert!(!core.vending.is_out(&one));
    let error = core.post(&admin, "sys/leases/renew", json!({ "lease_id": lease })).await.refused(400);
    assert_eq!(error, "lease not found");
}

#[tokio::test]
async fn a_renewal_that_asks_for_too_much_is_told() {
    let (core, admin) = core().await;
    let (_, lease) = can(&core, &admin).await;
    let renewed = core.post(&admin, "sys/leases/renew", json!({ "lease_id": lease, "increment": 7200 })).await;
    let renewed = renewed.expect(200);
    let seconds = renewed["lease_duration"].as_u64().unwrap();
    assert!((3590..=3600).contains(&seconds), "{renewed}");
    assert!(renewed["warnings"][0].as_str().unwrap().starts_with("TTL of \"7200s\" exceeded"), "{renewed}");
}

#[tokio::test]
async fn what_a_token_of_the_native_api_leaves_is_taken_back_when_it_ends() {
    let (core, _) = core().await;
    core.directory.add("native", Role::Admin, TenantScope::Any);
    let native = Client::admin().bearing("native");
    core.post(&native, "cubbyhole/note", json!({ "secret": "of mine" })).await.expect(204);
    let (one, _) = can(&core, &native).await;
    let child = core.token(&native, json!({})).await;
    core.directory.remove("native");
    core.get(&child, "auth/token/lookup-self").await.refused(403);
    // Nobody tells custody. It looks once a minute, and at each start.
    let core = core.restart().await;
    gone(&core, &one).await;
    core.directory.add("native", Role::Admin, TenantScope::Any);
    until("its cubbyhole is empty", async || core.get(&native, "cubbyhole/note").await.status == 404).await;
}
