//! AppRole: roles, secret ids, logins.

use mainstay_auth_methods::ApproleKind;
use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::{Value, json};

use crate::{Scene, invalid, is_not_found};

async fn scene() -> Scene {
    Scene::new(&ApproleKind).await
}

async fn role_id(scene: &Scene, role: &str) -> Value {
    scene.read(&format!("role/{role}/role-id")).await.unwrap()["role_id"].clone()
}

#[tokio::test]
async fn a_new_role_is_answered_as_vault_does() {
    let scene = scene().await;
    assert!(is_not_found(&scene.read("role/web").await) && is_not_found(&scene.list("role").await));
    scene.write("role/Web", json!({"token_policies": "default", "policies": "ignored"})).await;
    assert_eq!(
        scene.read("role/web").await.unwrap(),
        json!({
            "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null, "secret_id_num_uses": 0,
            "secret_id_ttl": 0, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
            "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": ["default"],
            "policies": ["default"], "token_type": "default", "token_ttl": 0,
        })
    );
    assert_eq!(scene.list("role/").await.unwrap(), json!(["web"]));
    assert!(scene.delete("role/WEB").await.unwrap().data.is_none());
    assert!(scene.delete("role/web").await.is_ok() && is_not_found(&scene.read("role/web").await));
    assert!(scene.stored().await.keys().eq(["hash-key"]));
}

#[tokio::test]
async fn a_role_that_asks_for_nothing_is_refused() {
    let scene = scene().await;
    let table = [
        (json!({"bind_secret_id": false}), "at least one constraint should be enabled on the role"),
        (json!({"secret_id_num_uses": -1}), "secret_id_num_uses cannot be negative"),
        (json!({"secret_id_bound_cidrs": "here"}), "failed to validate CIDR blocks: invalid CIDR address: here"),
        (json!({"token_type": "strange"}), "invalid 'token_type' value \"strange\""),
        (json!({"role_id": ""}), "invalid role_id supplied, or failed to generate a role_id"),
        (
            json!({"token_period": "769h"}),
            "period of \"769h0m0s\" is greater than the backend's maximum lease TTL of \"768h0m0s\"",
        ),
    ];
    for (data, message) in table {
        assert_eq!(invalid(scene.try_write("role/web", data).await), message);
    }
    assert!(is_not_found(&scene.read("role/web").await));
    scene.write("role/web", json!({"bind_secret_id": false, "token_bound_cidrs": "127.0.0.1"})).await;
    let warned = scene.try_write("role/web", json!({"token_type": "default-batch", "token_max_ttl": "1000h"})).await;
    assert_eq!(warned.unwrap().warnings.len(), 2);
    assert_eq!(
        invalid(scene.try_write("role/web", json!({"local_secret_ids": true})).await),
        "local_secret_ids can only be modified during role creation"
    );
    scene.write("role/local", json!({"local_secret_ids": true})).await;
    assert_eq!(scene.read("role/local/local-secret-ids").await.unwrap(), json!({"local_secret_ids": true}));
}

#[tokio::test]
async fn each_field_has_a_path_of_its_own() {
    let scene = scene().await;
    for (path, data, shown, cleared) in [
        (
            "bind-secret-id",
            json!({"bind_secret_id": false}),
            json!({"bind_secret_id": false}),
            json!({"bind_secret_id": true}),
        ),
        (
            "policies",
            json!({"policies": "a,b"}),
            json!({"token_policies": ["a", "b"], "policies": ["a", "b"]}),
            json!({"token_policies": []}),
        ),
        ("period", json!({"token_period": "1h"}), json!({"token_period": 3600}), json!({"token_period": 0})),
        (
            "secret-id-bound-cidrs",
            json!({"secret_id_bound_cidrs": ["10.0.0.0/8"]}),
            json!({"secret_id_bound_cidrs": ["10.0.0.0/8"]}),
            json!({"secret_id_bound_cidrs": null}),
        ),
        (
            "bound-cidr-list",
            json!({"bound_cidr_list": "10.0.0.0/8"}),
            json!({"bound_cidr_list": ["10.0.0.0/8"]}),
            json!({"bound_cidr_list": []}),
        ),
        (
            "secret-id-num-uses",
            json!({"secret_id_num_uses": 5}),
            json!({"secret_id_num_uses": 5}),
            json!({"secret_id_num_uses": 0}),
        ),
        ("secret-id-ttl", json!({"secret_id_ttl": "5m"}), json!({"secret_id_ttl": 300}), json!({"secret_id_ttl": 0})),
        (
            "token-bound-cidrs",
            json!({"token_bound_cidrs": "10.0.0.1/32"}),
            json!({"token_bound_cidrs": ["10.0.0.1"]}),
            json!({"token_bound_cidrs": []}),
        ),
        ("token-num-uses", json!({"token_num_uses": 5}), json!({"token_num_uses": 5}), json!({"token_num_uses": 0})),
        ("token-ttl", json!({"token_ttl": 60}), json!({"token_ttl": 60}), json!({"token_ttl": 0})),
        ("token-max-ttl", json!({"token_max_ttl": "2h"}), json!({"token_max_ttl": 7200}), json!({"token_max_ttl": 0})),
    ] {
        let path = format!("role/web/{path}");
        assert!(is_not_found(&scene.read(&path).await), "{path}");
        assert!(matches!(scene.try_write(&path, data.clone()).await, Err(Refusal::UnsupportedPath)), "{path}");
        // With networks of its own, a role may do without a secret id.
        scene.write("role/web", json!({"token_bound_cidrs": "127.0.0.1"})).await;
        assert!(invalid(scene.try_write(&path, json!({"other": 1})).await).starts_with("missing "), "{path}");
        scene.write(&path, data).await;
        assert_eq!(scene.read(&path).await.unwrap(), shown, "{path}");
        scene.delete(&path).await.unwrap();
        assert_eq!(scene.read(&path).await.unwrap(), cleared, "{path}");
        scene.delete("role/web").await.unwrap();
    }
    assert!(matches!(scene.read("role/web/nothing").await, Err(Refusal::UnsupportedPath)));
    assert!(matches!(scene.call(Operation::Patch, "role/web", json!({})).await, Err(Refusal::UnsupportedOperation)));
}

#[tokio::test]
async fn a_role_id_leads_to_one_role() {
    let scene = scene().await;
    scene.write("role/web", json!({"role_id": "shared"})).await;
    scene.write("role/db", json!({})).await;
    assert_eq!(
        invalid(scene.try_write("role/db/role-id", json!({"role_id": "shared"})).await),
        "role_id already in use"
    );
    assert_eq!(invalid(scene.try_write("role/new", json!({"role_id": "shared"})).await), "role_id already in use");
    assert_eq!(invalid(scene.try_write("role/db/role-id", json!({})).await), "missing role_id");
    scene.write("role/web/role-id", json!({"role_id": "other"})).await;
    scene.write("role/db/role-id", json!({"role_id": "shared"})).await;
    for (role_id, role) in [("other", "web"), ("shared", "db")] {
        let secret = scene.write(&format!("role/{role}/secret-id"), json!({})).await;
        let login = scene.login("login", json!({"role_id": role_id, "secret_id": secret["secret_id"]})).await.unwrap();
        assert_eq!((login.alias.as_str(), login.metadata["role_name"].as_str()), (role_id, role));
    }
}

#[tokio::test]
async fn a_secret_id_is_made_shown_and_destroyed() {
    let scene = scene().await;
    assert!(matches!(scene.try_write("role/web/secret-id", json!({})).await, Err(Refusal::UnsupportedPath)));
    scene.write("role/web", json!({"secret_id_ttl": "1h", "secret_id_num_uses": 3})).await;
    assert!(is_not_found(&scene.list("role/web/secret-id").await));
    let data = json!({"cidr_list": "127.0.0.1/32", "metadata": "{\"foo\": \"bar\"}", "num_uses": 2});
    let made = scene.write("role/web/secret-id", data).await;
    assert_eq!((&made["secret_id_ttl"], &made["secret_id_num_uses"]), (&json!(3600), &json!(2)));
    let accessor = made["secret_id_accessor"].clone();
    let expected = json!({
        "secret_id_accessor": accessor, "secret_id_num_uses": 2, "secret_id_ttl": 3600,
        "creation_time": "2026-11-21T12:00:00.000000Z", "expiration_time": "2026-11-21T13:00:00.000000Z",
        "last_updated_time": "2026-11-21T12:00:00.000000Z", "metadata": {"foo": "bar"}, "cidr_list": ["127.0.0.1/32"],
        "token_bound_cidrs": [],
    });
    let secret = json!({"secret_id": made["secret_id"]});
    assert_eq!(scene.write("role/web/secret-id/lookup", secret.clone()).await, expected);
    let by_accessor = json!({"secret_id_accessor": accessor});
    assert_eq!(scene.write("role/web/secret-id-accessor/lookup", by_accessor.clone()).await, expected);
    assert_eq!(scene.list("role/web/secret-id").await.unwrap(), json!([accessor]));

    scene.write("role/other", json!({})).await;
    assert!(is_not_found(&scene.try_write("role/other/secret-id-accessor/lookup", by_accessor.clone()).await));
    assert!(is_not_found(&scene.try_write("role/other/secret-id-accessor/destroy", by_accessor.clone()).await));
    assert!(scene.try_write("role/other/secret-id/lookup", secret.clone()).await.unwrap().data.is_none());

    scene.write("role/web/secret-id/destroy", secret.clone()).await;
    assert!(scene.try_write("role/web/secret-id/lookup", secret.clone()).await.unwrap().data.is_none());
    assert!(is_not_found(&scene.try_write("role/web/secret-id-accessor/lookup", by_accessor).await));
    assert!(scene.try_write("role/web/secret-id/destroy", secret).await.is_ok());

    let second = scene.write("role/web/secret-id", json!({})).await;
    scene
        .write("role/web/secret-id-accessor/destroy", json!({"secret_id_accessor": second["secret_id_accessor"]}))
        .await;
    assert!(is_not_found(&scene.list("role/web/secret-id").await));
    let left = scene.stored().await;
    assert!(
        left.keys()
            .all(|key| !key.starts_with("secret/") && !key.starts_with("accessor/") && !key.starts_with("expiry/")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_secret_id_stays_within_its_role() {
    let scene = scene().await;
    let role = json!({
        "secret_id_ttl": 60, "secret_id_num_uses": 3, "secret_id_bound_cidrs": "10.0.0.0/8", "token_bound_cidrs": "10.0.0.0/8",
    });
    scene.write("role/web", role).await;
    let outside = "failed to verify subset relationship between CIDR blocks on the role [\"10.0.0.0/8\"] and CIDR blocks \
                   on the secret ID [\"11.0.0.0/8\"]";
    for (data, message) in [
        (json!({"num_uses": 4}), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({"num_uses": 0}), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({"num_uses": -1}), "num_uses cannot be negative"),
        (json!({"ttl": 61}), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({"ttl": 0}), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({"cidr_list": "11.0.0.0/8"}), outside),
        (json!({"token_bound_cidrs": "11.0.0.0/8"}), outside),
    ] {
        assert_eq!(invalid(scene.try_write("role/web/secret-id", data).await), message);
    }
    scene.write("role/web", json!({"bind_secret_id": false})).await;
    assert_eq!(
        invalid(scene.try_write("role/web/secret-id", json!({})).await),
        "bind_secret_id is not set on the role"
    );
    scene.write("role/long", json!({"secret_id_ttl": "10000h"})).await;
    assert_eq!(scene.write("role/long/secret-id", json!({})).await["secret_id_ttl"], json!(2_764_800));
}

#[tokio::test]
async fn a_login_is_what_its_role_and_secret_id_say() {
    let scene = scene().await;
    let role = json!({"token_policies": "B,a", "token_ttl": 60, "token_max_ttl": 120, "token_num_uses": 7, "token_explicit_max_ttl": 90});
    scene.write("role/Web", role).await;
    let data = json!({"metadata": "{\"foo\": \"bar\", \"role_name\": \"root\"}", "token_bound_cidrs": "127.0.0.0/8"});
    let secret = scene.write("role/web/secret-id", data).await;
    let role_id = role_id(&scene, "web").await;
    let login = scene.login("login", json!({"role_id": role_id, "secret_id": secret["secret_id"]})).await.unwrap();
    assert_eq!(login.policies, ["a", "b"]);
    assert_eq!(
        login.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["foo=bar", "role_name=web"]
    );
    assert_eq!(json!(login.alias), role_id);
    assert_eq!(
        (login.ttl_seconds, login.max_ttl_seconds, login.explicit_max_ttl_seconds, login.num_uses),
        (60, 120, 90, 7)
    );
    assert_eq!(login.bound_cidrs, ["127.0.0.0/8"]);

    scene.write("role/web", json!({"token_ttl": 30, "token_max_ttl": 40, "token_policies": "c"})).await;
    let renewed = scene.backend.renew_login(login.clone(), scene.now).await.unwrap();
    assert_eq!((renewed.ttl_seconds, renewed.max_ttl_seconds), (30, 40));
    assert_eq!(renewed.policies, ["a", "b"], "a renewal gives no new policies");
    scene.delete("role/web").await.unwrap();
    let refused = scene.backend.renew_login(login, scene.now).await;
    assert_eq!(invalid(refused), "role \"web\" does not exist during renewal");
}

#[tokio::test]
async fn whatever_is_wrong_with_credentials_has_one_answer() {
    let scene = scene().await;
    scene.write("role/web", json!({})).await;
    scene.write("role/other", json!({})).await;
    scene.write("role/nobody", json!({})).await;
    let (web, other) = (role_id(&scene, "web").await, role_id(&scene, "other").await);
    let secret = scene.write("role/web/secret-id", json!({"ttl": 60})).await["secret_id"].clone();
    let wrong = "invalid role or secret ID";
    for (role_id, secret_id, message) in [
        (web.clone(), json!("wrong"), wrong),
        (json!("wrong"), secret.clone(), wrong),
        (other, secret.clone(), wrong),
        (json!("web"), secret.clone(), wrong),
        (json!("wrong"), json!(""), wrong),
        (web.clone(), json!(""), "missing secret_id"),
        (web.clone(), json!(null), "missing secret_id"),
        (json!(" "), secret.clone(), "missing role_id"),
        (web.clone(), json!("x".repeat(5000)), "secret_id is longer than maximum of 4096 bytes"),
    ] {
        let login = scene.login("login", json!({"role_id": role_id, "secret_id": secret_id})).await;
        assert_eq!(invalid(login), message, "{role_id}");
    }
    let right = json!({"role_id": web, "secret_id": format!(" {} ", secret.as_str().unwrap())});
    assert!(scene.login("login", right.clone()).await.is_ok());
    assert_eq!(invalid(scene.later(60).login("login", right).await), wrong, "its time is over");
}

#[tokio::test]
async fn a_role_s_successor_does_not_inherit_its_secret_ids() {
    let scene = scene().await;
    scene.write("role/web", json!({"role_id": "same"})).await;
    let secret = scene.write("role/web/custom-secret-id", json!({"secret_id": "custom"})).await;
    assert_eq!(secret["secret_id"], json!("custom"));
    assert_eq!(
        invalid(scene.try_write("role/web/custom-secret-id", json!({"secret_id": "custom"})).await),
        "failed to store secret_id: SecretID is already registered"
    );
    assert_eq!(invalid(scene.try_write("role/web/custom-secret-id", json!({})).await), "missing secret_id");
    let credentials = json!({"role_id": "same", "secret_id": "custom"});
    assert!(scene.login("login", credentials.clone()).await.is_ok());
    scene.delete("role/web").await.unwrap();
    scene.write("role/web", json!({"role_id": "same"})).await;
    assert_eq!(invalid(scene.login("login", credentials).await), "invalid role or secret ID");
}

#[tokio::test]
async fn networks_are_kept_and_a_refusal_takes_no_use() {
    let scene = scene().await;
    scene.write("role/web", json!({"secret_id_bound_cidrs": "10.0.0.0/8"})).await;
    let made = scene.write("role/web/secret-id", json!({"cidr_list": "10.1.0.0/16", "num_uses": 1})).await;
    let credentials = json!({"role_id": role_id(&scene, "web").await, "secret_id": made["secret_id"]});
    assert_eq!(
        invalid(scene.from("10.2.0.1").login("login", credentials.clone()).await),
        "source address \"10.2.0.1\" unauthorized through CIDR restrictions on the secret ID"
    );
    let nowhere = Scene { remote: None, ..scene.clone() };
    assert_eq!(invalid(nowhere.login("login", credentials.clone()).await), "failed to get connection information");
    scene.write("role/web", json!({"secret_id_bound_cidrs": "10.2.0.0/16"})).await;
    let narrower = invalid(scene.from("10.1.0.1").login("login", credentials.clone()).await);
    assert!(narrower.starts_with("failed to verify subset relationship"), "{narrower}");
    scene.write("role/web", json!({"secret_id_bound_cidrs": "10.0.0.0/8"})).await;
    assert!(scene.from("10.1.0.1").login("login", credentials).await.is_ok());

    scene.write("role/open", json!({"bind_secret_id": false, "secret_id_bound_cidrs": "10.0.0.0/8"})).await;
    let role_id = json!({"role_id": role_id(&scene, "open").await});
    assert!(scene.from("10.9.0.1").login("login", role_id.clone()).await.is_ok());
    assert_eq!(
        invalid(scene.login("login", role_id).await),
        "source address \"127.0.0.1\" unauthorized by CIDR restrictions on the role"
    );
}

#[tokio::test]
async fn no_secret_id_is_stored() {
    let scene = scene().await;
    scene.write("role/web", json!({"role_id": "canary-role"})).await;
    let made = scene.write("role/web/secret-id", json!({})).await;
    scene.write("role/web/custom-secret-id", json!({"secret_id": "canary-secret"})).await;
    let stored = format!("{:?}", scene.stored().await);
    assert!(!stored.contains("canary-secret") && !stored.contains(made["secret_id"].as_str().unwrap()));
    let keys = format!("{:?}", scene.stored().await.keys());
    assert!(!keys.contains("canary-role") && !keys.contains(made["secret_id_accessor"].as_str().unwrap()));
}
