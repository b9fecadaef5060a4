//! The calls that stock clients make, as recorded, with the shapes that they read.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::harness::{Layer, Vault};

const ENVELOPE: [&str; 8] =
    ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"];
const AUTH: [&str; 11] = [
    "client_token",
    "accessor",
    "policies",
    "token_policies",
    "metadata",
    "lease_duration",
    "renewable",
    "entity_id",
    "token_type",
    "orphan",
    "num_uses",
];

#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
}

#[test]
fn vault_kv_asks_for_the_mount_first() {
    let admin = Vault::of(Layer::shared()).in_tenant("vault-cli");
    // `vault kv put secret/app a=b`
    let mount = admin.get("sys/internal/ui/mounts/secret/app").expect(200);
    has(&mount, &ENVELOPE);
    assert_eq!((&mount["data"]["path"], &mount["data"]["type"]), (&json!("secret/"), &json!("kv")));
    assert_eq!(mount["data"]["options"]["version"], "2");
    has(&mount["data"], &["accessor", "config", "description", "local", "seal_wrap", "uuid"]);
    let put = admin.put("secret/data/app", &json!({ "data": { "a": "b" }, "options": {} })).expect(200);
    has(&put, &ENVELOPE);
    has(&put["data"], &["created_time", "custom_metadata", "deletion_time", "destroyed", "version"]);
    // `vault kv get secret/app`, and of a version
    for path in ["secret/data/app", "secret/data/app?version=1"] {
        let got = admin.get(path).expect(200);
        assert_eq!((&got["data"]["data"], &got["data"]["metadata"]["version"]), (&json!({ "a": "b" }), &json!(1)));
        assert_eq!(got["data"]["metadata"]["deletion_time"], "");
    }
    // `vault kv get secret/none`, `vault kv list secret`, and `vault kv get` of a mount that is not there
    assert_eq!(admin.get("secret/data/none").expect(404), json!({ "errors": [] }));
    let listed = admin.call(Method::GET, "secret/metadata?list=true", &[], "").unwrap().expect(200);
    assert_eq!(listed["data"]["keys"], json!(["app"]));
    let none = admin.get("sys/internal/ui/mounts/nothing/here").expect(403);
    assert!(none["errors"][0].as_str().unwrap().starts_with("preflight capability check returned 403"), "{none}");
    // A token that reaches the mount may ask, and another may not.
    let reader = admin.bearer_of("cli-reader", r#"path "secret/data/app" { capabilities = ["read"] }"#);
    reader.get("sys/internal/ui/mounts/secret/app").expect(200);
    let other = admin.bearer_of("cli-other", r#"path "kv/data/app" { capabilities = ["read"] }"#);
    other.get("sys/internal/ui/mounts/secret/app").expect(403);
}

#[test]
fn vault_token_and_lease_commands() {
    let admin = Vault::of(Layer::shared()).in_tenant("vault-token");
    // `vault token create -ttl=1h`
    let made = admin
        .post("auth/token/create", &json!({ "ttl": "1h", "policies": ["default"], "renewable": true }))
        .expect(200);
    has(&made, &ENVELOPE);
    has(&made["auth"], &AUTH);
    let own = admin.with_token(made["auth"]["client_token"].as_str().unwrap());
    // `vault token lookup`
    let looked = own.get("auth/token/lookup-self").expect(200);
    has(
        &looked["data"],
        &[
            "id",
            "accessor",
            "policies",
            "path",
            "meta",
            "display_name",
            "num_uses",
            "orphan",
            "creation_time",
            "creation_ttl",
            "expire_time",
            "ttl",
            "explicit_max_ttl",
            "entity_id",
            "type",
            "renewable",
            "issue_time",
        ],
    );
    assert_eq!((&looked["data"]["type"], &looked["data"]["creation_ttl"]), (&json!("service"), &json!(3600)));
    assert_eq!(looked["data"]["id"], made["auth"]["client_token"]);
    // `vault token capabilities secret/data/x`
    let may = own.post("sys/capabilities-self", &json!({ "paths": ["secret/data/x", "cubbyhole/x"] })).expect(200);
    assert_eq!(may["data"]["secret/data/x"], json!(["deny"]));
    // `vault token renew`, `vault token revoke -self`
    let renewed = own.put("auth/token/renew-self", &json!({ "increment": 600 })).expect(200);
    assert_eq!(renewed["auth"]["lease_duration"], 600);
    own.put("auth/token/revoke-self", &json!({})).expect(204);
    assert_eq!(own.get("auth/token/lookup-self").expect(403), json!({ "errors": ["permission denied"] }));

    // `vault lease lookup`, `renew`, `revoke`, with the id in the body and in the path
    let issuer = pki(&admin);
    let lease = |name: &str| {
        let issued = admin.post(&issuer, &json!({ "common_name": format!("{name}.example.com") })).expect(200);
        issued["lease_id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (lease("first"), lease("second"));
    assert!(first.starts_with("pki/issue/web/"), "{first}");
    let looked = admin.put("sys/leases/lookup", &json!({ "lease_id": first })).expect(200);
    has(&looked["data"], &["id", "issue_time", "expire_time", "last_renewal", "renewable", "ttl"]);
    let listed = admin.list("sys/leases/lookup/pki/issue/web").expect(200);
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 2);
    for path in [
        "sys/leases/renew".to_owned(),
        "sys/renew".to_owned(),
        format!("sys/leases/renew/{first}"),
        format!("sys/renew/{first}"),
    ] {
        let answer = admin.put(&path, &json!({ "lease_id": first, "increment": 60 }));
        assert_eq!(answer.clone().expect(400)["errors"][0], "lease is not renewable", "{path}: {answer:?}");
    }
    admin.put("sys/leases/revoke", &json!({ "lease_id": first })).expect(204);
    admin.put(&format!("sys/revoke/{second}"), &json!({})).expect(204);
    for gone in [&first, &second] {
        assert_eq!(
            admin.put("sys/leases/lookup", &json!({ "lease_id": gone })).expect(400)["errors"][0],
            "invalid lease"
        );
    }
    let third = lease("third");
    admin.put("sys/leases/revoke-prefix/pki/issue", &json!({})).expect(204);
    admin.put("sys/leases/lookup", &json!({ "lease_id": third })).expect(400);
}

#[test]
fn external_secrets_operator() {
    let admin = Vault::of(Layer::shared()).in_tenant("eso");
    admin.post("secret/data/app", &json!({ "data": { "password": "for-eso" } })).expect(200);
    let policy = r#"path "secret/data/app" { capabilities = ["read"] }
        path "secret/metadata/app" { capabilities = ["read"] }"#;
    admin.post("sys/policies/acl/eso", &json!({ "policy": policy })).expect(204);
    admin.post("sys/auth/approle", &json!({ "type": "approle" })).expect(204);
    admin.post("auth/approle/role/eso", &json!({ "token_policies": ["eso"], "token_ttl": "10m" })).expect(204);
    let role_id = admin.get("auth/approle/role/eso/role-id").expect(200)["data"]["role_id"].clone();
    let secret_id = admin.post("auth/approle/role/eso/secret-id", &json!({})).expect(200)["data"]["secret_id"].clone();
    let login = admin
        .with_token("")
        .put("auth/approle/login", &json!({ "role_id": role_id, "secret_id": secret_id }))
        .expect(200);
    has(&login["auth"], &AUTH);
    let eso = admin.with_token(login["auth"]["client_token"].as_str().unwrap());
    let looked = eso.get("auth/token/lookup-self").expect(200);
    has(&looked["data"], &["type", "ttl", "expire_time"]);
    assert!(looked["data"]["ttl"].as_u64().unwrap() > 500 && looked["data"]["expire_time"].is_string(), "{looked}");
    assert_eq!(eso.get("secret/data/app").expect(200)["data"]["data"]["password"], "for-eso");
    has(&eso.get("secret/metadata/app").expect(200)["data"], &["current_version", "versions", "custom_metadata"]);
    eso.put("auth/token/revoke-self", &json!({})).expect(204);
    eso.get("secret/data/app").expect(403);
    // It logs in again with the token that has ended still in its client.
    eso.put("auth/approle/login", &json!({ "role_id": role_id, "secret_id": secret_id })).expect(200);
}

/// A mount that gives certificates with leases; the path to ask.
pub fn pki(admin: &Vault) -> String {
    admin.post("sys/mounts/pki", &json!({ "type": "pki" })).expect(204);
    let root = json!({ "common_name": "example.com", "ttl": "87600h", "key_type": "ec", "key_bits": 256 });
    admin.post("pki/root/generate/internal", &root).expect(200);
    let role = json!({ "allowed_domains": "example.com", "allow_subdomains": true, "generate_lease": true,
        "key_type": "ec", "key_bits": 256, "max_ttl": "72h" });
    let made = admin.post("pki/roles/web", &role);
    assert!(matches!(made.status, 200 | 204), "{made:?}");
    "pki/issue/web".to_owned()
}
