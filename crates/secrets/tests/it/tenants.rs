//! One tenant and another: what belongs to the one does not exist for the other.

use mainstay_secrets::Method;
use mainstay_types::{Role, TenantScope};
use serde_json::{Value, json};

use crate::core::{Client, Core};

#[tokio::test]
async fn another_tenants_tokens_and_leases_do_not_exist() {
    let core = Core::new().await;
    let admin = Client::admin();
    core.directory.add("admin-of-a", Role::Admin, TenantScope::One("tenant-a".parse().unwrap()));
    core.directory.add("admin-of-b", Role::Admin, TenantScope::One("tenant-b".parse().unwrap()));
    let (a, b) = (Client::default().bearing("admin-of-a"), Client::default().bearing("admin-of-b"));
    core.post(&a, "secret/data/x", json!({ "data": { "of": "a" } })).await.expect(200);
    core.get(&b, "secret/data/x").await.refused(404);
    for name in ["tenant-a", "tenant-a/", "/tenant-a"] {
        assert_eq!(core.get(&b.of(name), "secret/data/x").await.refused(403), "permission denied");
    }
    for name in ["Tenant-A", "tenant-a/x", "..", "tenant-b/../tenant-a", "*", "%74enant-a"] {
        let answer = core.get(&b.of(name), "secret/data/x").await;
        assert!(matches!(answer.status, 400 | 403), "{name}: {answer:?}");
    }

    let own = core.token(&a, json!({ "policies": ["admin"] })).await;
    let looked = core.get(&own, "auth/token/lookup-self").await.expect(200);
    let wrapped = core.call_wrapped(&a, Method::Get, "secret/data/x", json!({}), Some(60)).await.expect(200);
    let wrapped = &wrapped["wrap_info"];
    for b in [b.clone(), core.token(&b, json!({ "policies": ["admin"] })).await] {
        for accessor in [&looked["data"]["accessor"], &wrapped["accessor"]] {
            for verb in ["lookup-accessor", "renew-accessor", "revoke-accessor"] {
                core.post(&b, &format!("auth/token/{verb}"), json!({ "accessor": accessor })).await.refused(400);
            }
            core.post(&b, "sys/capabilities-accessor", json!({ "accessor": accessor, "path": "x" })).await.refused(400);
        }
        for token in [own.token(), "admin-of-a", wrapped["token"].as_str().unwrap()] {
            for verb in ["lookup", "renew"] {
                core.post(&b, &format!("auth/token/{verb}"), json!({ "token": token })).await.refused(403);
            }
            // As with a token that never was: revoking it is done, and does nothing.
            core.post(&b, "auth/token/revoke", json!({ "token": token })).await.expect(204);
            core.post(&b, "auth/token/revoke-orphan", json!({ "token": token })).await.refused(400);
            core.post(&b, "sys/capabilities", json!({ "token": token, "path": "x" })).await.refused(400);
            for verb in ["lookup", "unwrap", "rewrap"] {
                core.post(&b, &format!("sys/wrapping/{verb}"), json!({ "token": token })).await.refused(400);
            }
        }
        let accessors = core.call(&b, Method::List, "auth/token/accessors", json!({})).await.expect(200);
        assert!(!accessors["data"]["keys"].as_array().unwrap().contains(&looked["data"]["accessor"]), "{accessors}");
    }
    for client in [&a, &own] {
        core.get(client, "auth/token/lookup-self").await.expect(200);
    }
    core.post(&a.bearing(wrapped["token"].as_str().unwrap()), "sys/wrapping/unwrap", json!({})).await.expect(200);
    // The seal is nobody's alone.
    for path in ["sys/seal", "sys/rotate", "sys/rekey/init", "sys/generate-root/attempt"] {
        core.post(&a, path, json!({})).await.refused(403);
    }
    assert!(core.get(&admin.of("tenant-a"), "secret/data/x").await.expect(200)["data"]["data"]["of"] == "a");
}

#[tokio::test]
async fn nobody_makes_a_namespace_without_a_token() {
    let (core, admin) = (Core::new().await, Client::admin());
    let tenants = || async {
        let listed = core.call(&admin, Method::List, "sys/namespaces", json!({})).await.expect(200);
        listed["data"]["keys"].clone()
    };
    let before = tenants().await;
    for number in 0..20 {
        let stranger = Client::default().of(&format!("flood-{number}"));
        for client in [stranger.clone(), stranger.bearing("no-such-token")] {
            core.get(&client, "secret/data/x").await.refused(403);
            core.post(&client, "auth/approle/login", json!({ "role_id": "x" })).await.refused(403);
        }
    }
    assert_eq!(tenants().await, before);
    core.get(&admin.of("wanted"), "secret/data/x").await.refused(404);
    assert!(tenants().await.as_array().unwrap().contains(&Value::from("wanted/")));
}
