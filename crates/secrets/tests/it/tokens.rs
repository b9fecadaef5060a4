//! Tokens: what ends with what, how often one may be used, and what nobody may make.

use std::sync::Arc;

use mainstay_secrets::Method;
use mainstay_types::{Role, TenantScope};
use serde_json::{Value, json};

use crate::core::{Client, Core};

const ALL: &str = r#"path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }"#;

#[tokio::test]
async fn logging_in_asks_for_no_token() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/auth/userpass", json!({ "type": "userpass" })).await.expect(204);
    core.post(&admin, "auth/userpass/users/ann", json!({ "password": "a long password" })).await.expect(204);
    let login = |client: Client| {
        let core = &core;
        async move { core.post(&client, "auth/userpass/login/ann", json!({ "password": "a long password" })).await }
    };
    // A client that logs in again still sends the token that has ended.
    let stale = core.token(&admin, json!({})).await;
    core.post(&stale, "auth/token/revoke-self", json!({})).await.expect(204);
    for client in [Client::default(), stale, admin.bearing("no-such-token"), admin.bearing(&"x".repeat(5000))] {
        let made = login(client).await.expect(200);
        core.get(&admin.bearing(made["auth"]["client_token"].as_str().unwrap()), "auth/token/lookup-self")
            .await
            .expect(200);
    }
    // And a login takes none of its uses.
    let once = core.token(&admin, json!({ "num_uses": 1 })).await;
    login(once.clone()).await.expect(200);
    core.get(&once, "auth/token/lookup-self").await.expect(200);
    core.get(&once, "auth/token/lookup-self").await.refused(403);
}

#[tokio::test]
async fn descendants_end_with_their_ancestor() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/policies/acl/family", json!({ "policy": ALL })).await.expect(204);
    core.directory.add("native-parent", Role::Admin, TenantScope::Any);
    // Of custody's own and of the native API, ended through the token, its accessor, and from outside.
    for how in ["revoke-self", "revoke", "revoke-accessor", "native", "native revoke-self"] {
        let parent = match how {
            "native" => admin.bearing("native-parent"),
            "native revoke-self" => {
                core.directory.add("native-other", Role::Admin, TenantScope::Any);
                admin.bearing("native-other")
            }
            _ => core.token(&admin, json!({ "policies": ["family"] })).await,
        };
        let child = core.token(&parent, json!({ "policies": ["family"] })).await;
        let grandchild = core.token(&child, json!({})).await;
        let orphan = core.post(&admin, "auth/token/create-orphan", json!({})).await.expect(200);
        let orphan = admin.bearing(orphan["auth"]["client_token"].as_str().unwrap());
        for client in [&parent, &child, &grandchild, &orphan] {
            core.get(client, "auth/token/lookup-self").await.expect(200);
        }
        match how {
            "native" => core.directory.remove("native-parent"),
            "revoke" => {
                core.post(&admin, "auth/token/revoke", json!({ "token": parent.token() })).await.expect(204);
            }
            "revoke-accessor" => {
                let looked = core.get(&parent, "auth/token/lookup-self").await.expect(200);
                let named = json!({ "accessor": looked["data"]["accessor"] });
                core.post(&admin, "auth/token/revoke-accessor", named).await.expect(204);
            }
            _ => {
                core.post(&parent, "auth/token/revoke-self", json!({})).await.expect(204);
            }
        }
        for client in [&parent, &child, &grandchild] {
            for path in ["auth/token/lookup-self", "secret/data/x", "cubbyhole/x"] {
                assert_eq!(core.get(client, path).await.refused(403), "permission denied", "{how}");
            }
            // Nor does anybody bring it back.
            core.post(client, "auth/token/renew-self", json!({})).await.refused(403);
            core.post(&admin, "auth/token/renew", json!({ "token": client.token() })).await.refused(403);
            core.post(&admin, "auth/token/lookup", json!({ "token": client.token() })).await.refused(403);
        }
        core.get(&orphan, "auth/token/lookup-self").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_are_counted_whoever_races() {
    let (core, admin) = (Arc::new(Core::new().await), Client::admin());
    let maker = core.token(&admin, json!({ "policies": ["admin"] })).await;
    for _ in 0..4 {
        let client = core.token(&maker, json!({ "num_uses": 5, "policies": ["default"] })).await;
        let calls = (0..40).map(|_| {
            let (core, client) = (core.clone(), client.clone());
            tokio::spawn(async move { core.get(&client, "auth/token/lookup-self").await.status })
        });
        let calls: Vec<_> = calls.collect();
        let mut statuses = Vec::new();
        for call in calls {
            statuses.push(call.await.unwrap());
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 35, "{statuses:?}");
    }
}

#[tokio::test]
async fn nobody_makes_root() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "sys/auth/userpass", json!({ "type": "userpass" })).await.expect(204);
    core.post(&admin, "sys/auth/approle", json!({ "type": "approle" })).await.expect(204);
    let sudo = core.client_with(&admin, "sudoer", &ALL.replace("\"list\"", "\"list\", \"sudo\"")).await;
    let spellings: [Value; 12] = [
        json!(["root"]),
        json!(["ROOT"]),
        json!(["Root"]),
        json!([" root"]),
        json!(["root\n"]),
        json!(["\u{a0}root"]),
        json!("root"),
        json!("default,root"),
        json!(" Root ,default"),
        json!(["default", "rOOt\t"]),
        json!("root,"),
        json!(["default,root"]),
    ];
    let is_root = |auth: &Value| {
        let policies = auth["policies"].as_array().unwrap();
        policies.iter().any(|policy| policy.as_str().unwrap().trim().eq_ignore_ascii_case("root"))
    };
    for (number, spelling) in spellings.iter().enumerate() {
        for maker in [&admin, &sudo] {
            for path in ["auth/token/create", "auth/token/create-orphan"] {
                let answer = core.post(maker, path, json!({ "policies": spelling })).await;
                assert!(answer.status == 400 || !is_root(&answer.body["auth"]), "{spelling}: {answer:?}");
            }
            let role = format!("role-{number}");
            core.post(maker, &format!("auth/token/roles/{role}"), json!({ "allowed_policies": spelling })).await;
            for wanted in [json!({}), json!({ "policies": spelling })] {
                let answer = core.post(maker, &format!("auth/token/create/{role}"), wanted).await;
                assert!(answer.status == 400 || !is_root(&answer.body["auth"]), "{spelling}: {answer:?}");
            }
            let user = json!({ "password": "a long password", "token_policies": spelling });
            core.post(maker, &format!("auth/userpass/users/{role}"), user).await;
            let login = json!({ "password": "a long password" });
            let answer = core.post(&Client::default(), &format!("auth/userpass/login/{role}"), login).await;
            assert!(answer.status == 400 || !is_root(&answer.body["auth"]), "{spelling}: {answer:?}");
            let approle = json!({ "token_policies": spelling, "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.1/32",
                "token_bound_cidrs": "127.0.0.1/32" });
            core.post(maker, &format!("auth/approle/role/{role}"), approle).await;
            let id = core.get(maker, &format!("auth/approle/role/{role}/role-id")).await;
            let login = json!({ "role_id": id.body["data"]["role_id"] });
            let answer = core.post(&Client::default(), "auth/approle/login", login).await;
            assert!(answer.status == 400 || !is_root(&answer.body["auth"]), "{spelling}: {answer:?}");
        }
    }
    // Nor is there a policy of that name to write, or one that wrapping stands on to change.
    for name in ["root", "ROOT", "Root", " root", "root ", "response-wrapping", "Response-Wrapping"] {
        core.post(&admin, &format!("sys/policies/acl/{name}"), json!({ "policy": ALL })).await.refused(400);
        core.post(&admin, &format!("sys/policy/{name}"), json!({ "policy": ALL })).await.refused(400);
        core.call(&admin, Method::Delete, &format!("sys/policies/acl/{name}"), json!({})).await.refused(400);
    }
    core.call(&admin, Method::Delete, "sys/policies/acl/default", json!({})).await.refused(400);
}

#[tokio::test]
async fn a_maker_gives_no_more_than_it_has() {
    let core = Core::new().await;
    let (admin, operator) = (Client::admin(), Client::admin().bearing("native-operator"));
    core.directory.add("native-operator", Role::Operator, TenantScope::Any);
    core.post(&admin, "sys/policies/acl/strong", json!({ "policy": ALL })).await.expect(204);
    for wanted in
        [json!(["admin"]), json!(["Admin"]), json!(["strong"]), json!(["operator", "admin"]), json!(["viewer"])]
    {
        core.post(&operator, "auth/token/create", json!({ "policies": wanted })).await.refused(400);
    }
    for (field, value) in [("id", json!("chosen")), ("no_parent", json!(true)), ("period", json!("1h"))] {
        core.post(&operator, "auth/token/create", json!({ field: value })).await.refused(400);
    }
    let closed = [
        "auth/token/create-orphan",
        "auth/token/roles/x",
        "auth/token/create/x",
        "auth/token/revoke",
        "sys/policies/acl/operator",
        "sys/policy/operator",
        "sys/auth/userpass",
        "auth/userpass/users/me",
        "sys/seal",
        "sys/rotate",
        "sys/remount",
        "sys/generate-root/attempt",
        "sys/rekey/init",
        "sys/audit/x",
        "sys/raw/core",
        "sys/leases/revoke-prefix/secret",
    ];
    for path in closed {
        core.post(&operator, path, json!({ "policy": ALL, "type": "userpass" })).await.refused(403);
    }
    // A text that is another's token, or the beginning of real ones, cannot be chosen.
    let other = core.token(&admin, json!({})).await;
    core.post(&admin, "auth/token/create", json!({ "id": other.token() })).await.refused(400);
    core.post(&admin, "auth/token/create", json!({ "id": "taken-1" })).await.expect(200);
    core.post(&admin, "auth/token/create", json!({ "id": "taken-1" })).await.refused(400);
    for id in ["a.b", "a b", "", "a\nb", "\u{e4}", &"x".repeat(257)] {
        let answer = core.post(&admin, "auth/token/create", json!({ "id": id })).await;
        assert!(answer.status == 400 || (id.is_empty() && answer.status == 200), "{id:?}: {answer:?}");
    }
    // Who may be used so many times only makes none at all.
    let counted = core.token(&admin, json!({ "num_uses": 9, "policies": ["admin"] })).await;
    core.post(&counted, "auth/token/create", json!({})).await.refused(400);
}
