//! What the bearer of any token may know and do, and what one tenant's may not.

use mainstay_secrets::Method;
use mainstay_types::{Role, TenantScope};
use serde_json::json;

use crate::core::{Client, Core};

#[tokio::test]
async fn a_reader_of_one_secret_learns_what_is_mounted_there() {
    let (core, admin) = (Core::new().await, Client::admin());
    let policy = r#"path "secret/data/app" { capabilities = ["read"] }"#;
    let client = core.client_with(&admin, "reader", policy).await;
    let mount = core.get(&client, "sys/internal/ui/mounts/secret/data/app").await.expect(200);
    assert_eq!((&mount["data"]["path"], &mount["data"]["options"]["version"]), (&json!("secret/"), &json!("2")));
    let mounts = core.get(&client, "sys/internal/ui/mounts").await.expect(200);
    assert!(mounts["data"]["secret"]["secret/"].is_object() && mounts["data"]["secret"]["sys/"].is_null(), "{mounts}");
    core.post(&admin, "sys/mounts/other", json!({ "type": "kv" })).await.expect(204);
    for path in ["other/app", "nowhere"] {
        core.get(&client, &format!("sys/internal/ui/mounts/{path}")).await.refused(403);
    }
    core.get(&Client::default(), "sys/internal/ui/mounts/secret").await.refused(403);
    // That much and no more.
    core.get(&client, "sys/mounts").await.refused(403);
}

#[tokio::test]
async fn a_wrapping_token_tells_its_age_to_whoever_holds_it() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/wrapping/wrap", json!({ "a": 1 })).await.refused(400);
    let wrapped = core.call_wrapped(&admin, Method::Post, "sys/wrapping/wrap", json!({ "a": 1 }), Some(60)).await;
    let holder = admin.bearing(wrapped.expect(200)["wrap_info"]["token"].as_str().unwrap());
    for _ in 0..2 {
        let about = core.post(&holder, "sys/wrapping/lookup", json!({})).await.expect(200);
        assert_eq!(about["data"]["creation_ttl"], 60);
    }
    assert_eq!(core.post(&holder, "sys/wrapping/unwrap", json!({})).await.expect(200)["data"]["a"], 1);
}

#[tokio::test]
async fn what_is_every_tenant_s_is_not_one_tenant_s() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.directory.add("of-a", Role::Admin, TenantScope::One("a".parse().unwrap()));
    let a = Client::default().bearing("of-a");
    core.get(&a, "auth/token/lookup-self").await.expect(200);
    core.post(&a, "sys/audit-hash/file", json!({ "input": "a guess" })).await.refused(403);
    core.get(&a, "sys/audit").await.refused(403);
    core.post(&a, "sys/seal", json!({})).await.refused(403);
    // Whether another tenant's accessor exists cannot be told.
    let made = core.post(&admin, "auth/token/create", json!({})).await.expect(200);
    let known = made["auth"]["accessor"].clone();
    let ask = async |accessor| {
        let ask = json!({ "accessor": accessor, "path": "secret/x" });
        core.post(&a, "sys/capabilities-accessor", ask).await.refused(400)
    };
    assert_eq!(ask(known).await, ask(json!("t-zzzzzzzzzzzz")).await);
}

#[tokio::test]
async fn metadata_is_for_names() {
    let (core, admin) = (Core::new().await, Client::admin());
    let large = json!({ "meta": { "a": "x".repeat(20_000) } });
    let error = core.post(&admin, "auth/token/create", large).await.refused(400);
    assert!(error.contains("may have 16384"), "{error}");
    core.post(&admin, "auth/token/create", json!({ "entity_alias": "me" })).await.refused(400);
}

#[tokio::test]
async fn sealing_ends_what_was_known() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/seal", json!({})).await.expect(204);
    core.get(&admin, "auth/token/lookup-self").await.refused(503);
}
