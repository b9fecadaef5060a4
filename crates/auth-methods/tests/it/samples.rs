//! Entries as each version of the formats stored them: they have to work for ever.
//!
//! A sample is a whole mount, key by key. To make those of a new version, run the ignored test and give the files the
//! new version's name; the old ones stay.

use std::path::{Path, PathBuf};

use mainstay_auth_methods::{ApproleKind, JwtKind, UserpassKind};
use mainstay_secrets_engine::{Kind, Storage};
use serde_json::{Map, Value, json};

use crate::Scene;
use crate::issuer::RSA;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples").join(name)
}

async fn mount_of(kind: &dyn Kind, name: &str) -> Scene {
    let sample: Map<String, Value> = serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap();
    let storage = Storage::scratch().await;
    for (key, value) in &sample {
        storage.put(key, value).await.unwrap();
    }
    Scene::on(kind, storage).await
}

#[tokio::test]
async fn approle_v1() {
    let scene = mount_of(&ApproleKind, "approle.v1.json").await;
    let role = scene.read("role/web").await.unwrap();
    assert_eq!((&role["token_policies"], &role["secret_id_num_uses"]), (&json!(["a"]), &json!(5)));
    let credentials = json!({"role_id": "sample-role", "secret_id": "sample-secret"});
    let login = scene.login("login", credentials.clone()).await.unwrap();
    assert_eq!(
        (login.metadata["foo"].as_str(), login.bound_cidrs.as_slice()),
        ("bar", &["127.0.0.0/8".to_owned()][..])
    );
    let left = scene.write("role/web/secret-id/lookup", json!({"secret_id": "sample-secret"})).await;
    assert_eq!((&left["secret_id_num_uses"], &left["cidr_list"]), (&json!(2), &json!(["127.0.0.1/32"])));
    let accessor = json!({"secret_id_accessor": left["secret_id_accessor"]});
    assert_eq!(scene.write("role/web/secret-id-accessor/lookup", accessor).await, left);
    assert!(scene.later(3600).login("login", credentials).await.is_err());
    scene.backend.tend(scene.later(3600).now).await.unwrap();
    assert!(scene.stored().await.keys().all(|key| !key.starts_with("secret/")));
}

#[tokio::test]
async fn userpass_v1() {
    let scene = mount_of(&UserpassKind::default(), "userpass.v1.json").await;
    let login = scene.login("login/ada", json!({"password": "sample-password"})).await.unwrap();
    assert_eq!((login.policies.as_slice(), login.period_seconds), (&["a".to_owned()][..], 60));
    assert_eq!(scene.read("users/ada").await.unwrap()["policies"], json!(["a"]));
}

#[tokio::test]
async fn jwt_v1() {
    let scene = mount_of(&JwtKind::Jwt, "jwt.v1.json").await;
    let config = scene.read("config").await.unwrap();
    assert_eq!((&config["bound_issuer"], &config["default_role"]), (&json!("issuer"), &json!("web")));
    assert_eq!(config["jwt_validation_pubkeys"].as_array().unwrap().len(), 1);
    let role = scene.read("role/web").await.unwrap();
    assert_eq!((&role["bound_claims"], &role["expiration_leeway"]), (&json!({"team": ["x", 5]}), &json!(-1)));
    assert_eq!((&role["token_type"], &role["bound_claims_type"]), (&json!("batch"), &json!("string")));
}

#[tokio::test]
async fn what_a_newer_version_stored_is_not_guessed_at() {
    let storage = Storage::scratch().await;
    storage.put("user/ada", &json!({"version": "2", "password_hash": "x", "token": {}})).await.unwrap();
    let scene = Scene::on(&UserpassKind::default(), storage).await;
    let login = scene.login("login/ada", json!({"password": "x"})).await;
    assert!(matches!(login, Err(mainstay_secrets_engine::Refusal::Failed { .. })));
}

#[tokio::test]
#[ignore = "makes the samples of a new version"]
async fn make_samples() {
    let approle = Scene::new(&ApproleKind).await;
    let role = json!({"role_id": "sample-role", "policies": "a", "secret_id_num_uses": 5, "secret_id_bound_cidrs": "127.0.0.0/8"});
    approle.write("role/web", role).await;
    let secret_id = json!({
        "secret_id": "sample-secret", "num_uses": 3, "ttl": 3600, "metadata": {"foo": "bar"},
        "cidr_list": "127.0.0.1/32", "token_bound_cidrs": "127.0.0.0/8",
    });
    approle.write("role/web/custom-secret-id", secret_id).await;
    let userpass = Scene::new(&UserpassKind::default()).await;
    userpass.write("users/ada", json!({"password": "sample-password", "policies": "a", "token_period": 60})).await;
    let jwt = Scene::new(&JwtKind::Jwt).await;
    let config = json!({"jwt_validation_pubkeys": [RSA.public_pem], "bound_issuer": "issuer", "default_role": "web"});
    jwt.write("config", config).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_claims": {"team": ["x", 5]}, "expiration_leeway": -1,
        "claim_mappings": {"a": "b"}, "token_type": "batch", "token_bound_cidrs": "10.0.0.1",
    });
    jwt.write("role/web", role).await;
    for (name, scene) in [("approle.new.json", approle), ("userpass.new.json", userpass), ("jwt.new.json", jwt)] {
        std::fs::write(file(name), serde_json::to_vec_pretty(&scene.stored().await).unwrap()).unwrap();
    }
}
