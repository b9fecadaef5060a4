//! Token roles, and renewals: what a token may be says its role, its mount, its own tenant.

use mainstay_secrets::Method;
use serde_json::{Value, json};

use crate::core::{Client, Core};

async fn role(core: &Core, admin: &Client, role: Value) {
    core.call(admin, Method::Delete, "auth/token/roles/r", json!({})).await.expect(204);
    core.post(admin, "auth/token/roles/r", role).await.expect(204);
}

#[tokio::test]
async fn a_role_s_lists_count_however_they_are_written() {
    let (core, admin) = (Core::new().await, Client::admin());
    let policy = r#"path "auth/token/create/r" { capabilities = ["update"] }"#;
    let maker = core.client_with(&admin, "maker", policy).await;
    let table = [
        // The role's lists, what is asked for, what comes of it.
        (json!({ "allowed_policies": ["Team"] }), json!(["TEAM "]), Some(json!(["default", "team"]))),
        (json!({ "allowed_policies": ["team"] }), json!([]), Some(json!(["default", "team"]))),
        (json!({ "allowed_policies": ["team"] }), json!(["other"]), None),
        (json!({ "allowed_policies_glob": ["Team-*"] }), json!(["team-a"]), Some(json!(["default", "team-a"]))),
        (json!({ "allowed_policies_glob": ["*"] }), json!(["root"]), None),
        (json!({ "allowed_policies": ["root"] }), json!([]), None),
        (json!({ "disallowed_policies": ["Admin"] }), json!(["admin"]), None),
        (json!({ "disallowed_policies_glob": ["ADM*"] }), json!(["admin"]), None),
        (json!({ "disallowed_policies": ["admin"] }), json!(["team"]), Some(json!(["default", "team"]))),
        (json!({ "disallowed_policies": ["default"] }), json!(["team"]), Some(json!(["team"]))),
        // Without lists the maker's own policies are the bound, as without a role.
        (json!({}), json!(["team"]), None),
        (json!({}), json!([]), Some(json!(["maker"]))),
        (json!({ "allowed_policies_glob": ["*"] }), json!(["response-wrapping"]), None),
    ];
    for (lists, wanted, got) in table {
        role(&core, &admin, lists.clone()).await;
        let answer = core.post(&maker, "auth/token/create/r", json!({ "policies": wanted })).await;
        match got {
            Some(got) => assert_eq!(answer.expect(200)["auth"]["policies"], got, "{lists} {wanted}"),
            None => drop(answer.refused(400)),
        }
    }
    // Whoever has sudo may give what they like without a role, and with one that says nothing.
    role(&core, &admin, json!({})).await;
    core.post(&admin, "auth/token/create/r", json!({ "policies": ["team"] })).await.expect(200);
    core.post(&admin, "auth/token/roles/r", json!({ "token_type": "batch" })).await.refused(400);
}

#[tokio::test]
async fn a_token_is_not_renewed_without_its_role() {
    let (core, admin) = (Core::new().await, Client::admin());
    role(&core, &admin, json!({ "token_period": "1h" })).await;
    let made = core.post(&admin, "auth/token/create/r", json!({})).await.expect(200);
    let client = admin.bearing(made["auth"]["client_token"].as_str().unwrap());
    role(&core, &admin, json!({ "token_period": "30m" })).await;
    let renewed = core.post(&client, "auth/token/renew-self", json!({})).await.expect(200);
    assert_eq!(renewed["auth"]["lease_duration"], 1800);
    core.call(&admin, Method::Delete, "auth/token/roles/r", json!({})).await.expect(204);
    let error = core.post(&client, "auth/token/renew-self", json!({})).await.refused(400);
    assert!(error.contains("could not be found, not renewing"), "{error}");
}

#[tokio::test]
async fn a_login_is_renewed_by_its_own_mount_and_no_further_than_it_allows() {
    let (core, admin) = (Core::new().await, Client::admin());
    let other = admin.of("other");
    let door = json!({ "type": "door", "config": { "max_lease_ttl": "2h", "default_lease_ttl": "1h" } });
    core.post(&other, "sys/auth/door", door).await.expect(204);
    let login = core.post(&other, "auth/door/login", json!({})).await.expect(200);
    let token = login["auth"]["client_token"].as_str().unwrap();
    // The request acts in a tenant that has no such mount; the token's own has one, whose longest lease is two hours.
    let increment = json!({ "token": token, "increment": "1000h" });
    let renewed = core.post(&admin, "auth/token/renew", increment).await.expect(200);
    let seconds = renewed["auth"]["lease_duration"].as_u64().unwrap();
    assert!((7190..=7200).contains(&seconds), "{renewed}");
}
