//! The Rust client of Vault, used as its users do.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use vaultrs::auth::approle;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{kv2, sys, token, transit};

use crate::harness::{Layer, Vault, runtime};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    user: String,
    password: String,
}

fn client(layer: &Layer, token: &str) -> VaultClient {
    let mut settings = VaultClientSettingsBuilder::default();
    settings.address(layer.address()).token(token).namespace(Some("vaultrs".to_owned()));
    VaultClient::new(settings.build().unwrap()).unwrap()
}

#[track_caller]
fn status<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> u16 {
    match outcome.unwrap_err() {
        ClientError::APIError { code, .. } => code,
        error => panic!("{error}"),
    }
}

#[test]
fn vaultrs_works_unchanged() {
    let layer = Layer::shared();
    let admin = Vault::of(layer).in_tenant("vaultrs");
    let root = client(layer, &admin.token(&serde_json::json!({ "policies": ["admin"] })));
    runtime().block_on(async {
        secrets(&root).await;
        tokens(layer, &root).await;
        logins(layer, &root).await;
        encryption(&root).await;
        system(layer, &root).await;
    });
}

async fn secrets(client: &VaultClient) {
    let account = |password: &str| Account { user: "ann".to_owned(), password: password.to_owned() };
    for (number, password) in ["first", "second"].into_iter().enumerate() {
        let written = kv2::set(client, "secret", "app/db", &account(password)).await.unwrap();
        assert_eq!(written.version, number as u64 + 1);
    }
    assert_eq!(kv2::read::<Account>(client, "secret", "app/db").await.unwrap(), account("second"));
    assert_eq!(kv2::read_version::<Account>(client, "secret", "app/db", 1).await.unwrap(), account("first"));
    assert_eq!(kv2::list(client, "secret", "").await.unwrap(), ["app/"]);
    assert_eq!(kv2::read_metadata(client, "secret", "app/db").await.unwrap().current_version, 2);
    kv2::delete_latest(client, "secret", "app/db").await.unwrap();
    // As from Vault, the answer is 404 with the version's metadata, which this client can not read.
    kv2::read::<Account>(client, "secret", "app/db").await.unwrap_err();
    kv2::undelete_versions(client, "secret", "app/db", vec![2]).await.unwrap();
    kv2::destroy_versions(client, "secret", "app/db", vec![1]).await.unwrap();
    assert_eq!(kv2::read::<Account>(client, "secret", "app/db").await.unwrap(), account("second"));
    kv2::read_version::<Account>(client, "secret", "app/db", 1).await.unwrap_err();
    kv2::delete_metadata(client, "secret", "app/db").await.unwrap();
    assert_eq!(status(kv2::list(client, "secret", "").await), 404);
}

async fn tokens(layer: &Layer, root: &VaultClient) {
    let made = token::new(root, None).await.unwrap();
    let own = client(layer, &made.client_token);
    let looked = token::lookup_self(&own).await.unwrap();
    assert_eq!((looked.id.as_str(), looked.orphan), (made.client_token.as_str(), false));
    assert_eq!(token::lookup(root, &made.client_token).await.unwrap().accessor, made.accessor);
    assert!(token::lookup_accessor(root, &made.accessor).await.unwrap().id.is_empty());
    token::renew_self(&own, Some("30m")).await.unwrap();
    token::renew(root, &made.client_token, Some("20m")).await.unwrap();
    token::renew_accessor(root, &made.accessor, Some("10m")).await.unwrap();
    let child = token::new(&own, None).await.unwrap();
    token::revoke_accessor(root, &made.accessor).await.unwrap();
    for gone in [&made.client_token, &child.client_token] {
        assert_eq!(status(token::lookup_self(&client(layer, gone)).await), 403);
    }
    let orphan = token::new_orphan(root, None).await.unwrap();
    assert!(orphan.orphan);
    token::revoke_self(&client(layer, &orphan.client_token)).await.unwrap();
    token::role::set(root, "narrow", None).await.unwrap();
    assert_eq!(token::role::read(root, "narrow").await.unwrap().name, "narrow");
    assert_eq!(token::role::list(root).await.unwrap().keys, ["narrow"]);
    token::role::delete(root, "narrow").await.unwrap();
}

async fn logins(layer: &Layer, root: &VaultClient) {
    sys::auth::enable(root, "approle", "approle", None).await.unwrap();
    approle::role::set(root, "approle", "app", None).await.unwrap();
    let role = approle::role::read_id(root, "approle", "app").await.unwrap().role_id;
    let secret = approle::role::secret::generate(root, "approle", "app", None).await.unwrap().secret_id;
    let login = approle::login(&client(layer, ""), "approle", &role, &secret).await.unwrap();
    token::lookup_self(&client(layer, &login.client_token)).await.unwrap();
    assert_eq!(status(approle::login(root, "approle", &role, "wrong").await), 400);
}

async fn encryption(root: &VaultClient) {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    sys::mount::enable(root, "transit", "transit", None).await.unwrap();
    transit::key::create(root, "transit", "key", None).await.unwrap();
    let plain = base64.encode("what nobody reads");
    let sealed = transit::data::encrypt(root, "transit", "key", &plain, None).await.unwrap().ciphertext;
    assert!(sealed.starts_with("vault:v1:"), "{sealed}");
    transit::key::rotate(root, "transit", "key").await.unwrap();
    let rewrapped = transit::data::rewrap(root, "transit", "key", &sealed, None).await.unwrap().ciphertext;
    assert!(rewrapped.starts_with("vault:v2:"), "{rewrapped}");
    for text in [&sealed, &rewrapped] {
        let opened = transit::data::decrypt(root, "transit", "key", text, None).await.unwrap();
        assert_eq!(opened.plaintext, plain);
    }
    assert_eq!(transit::key::list(root, "transit").await.unwrap().keys, ["key"]);
}

async fn system(layer: &Layer, root: &VaultClient) {
    let health = sys::health(root).await.unwrap();
    assert!(health.initialized && !health.sealed);
    assert!(matches!(sys::status(root).await.unwrap(), sys::ServerStatus::OK));
    sys::policy::set(root, "reader", r#"path "secret/*" { capabilities = ["read"] }"#).await.unwrap();
    assert!(sys::policy::read(root, "reader").await.unwrap().rules.contains("secret/*"));
    assert!(sys::policy::list(root).await.unwrap().policies.contains(&"reader".to_owned()));
    sys::policy::delete(root, "reader").await.unwrap();
    sys::mount::enable(root, "more", "kv", None).await.unwrap();
    assert!(sys::mount::list(root).await.unwrap().contains_key("more/"));
    sys::mount::disable(root, "more").await.unwrap();
    assert!(sys::auth::list(root).await.unwrap().contains_key("token/"));
    assert!(!sys::tools::random(root, None).await.unwrap().random_bytes.is_empty());

    let values = HashMap::from([("once", "only")]);
    let made = Vault::of(layer).in_tenant("vaultrs").call(
        ureq::http::Method::POST,
        "sys/wrapping/wrap",
        &[("x-vault-wrap-ttl", "60s")],
        &serde_json::to_string(&values).unwrap(),
    );
    let made = made.unwrap().expect(200)["wrap_info"]["token"].as_str().unwrap().to_owned();
    assert_eq!(sys::wrapping::lookup(root, &made).await.unwrap().creation_path, "sys/wrapping/wrap");
    let opened: HashMap<String, String> = sys::wrapping::unwrap(root, Some(&made)).await.unwrap();
    assert_eq!(opened["once"], "only");
    assert_eq!(status(sys::wrapping::lookup(root, &made).await), 400);
}
