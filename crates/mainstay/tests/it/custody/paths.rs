//! Paths as they come over the wire, with every escape and trick, against policies and engines.

use serde_json::json;

use crate::harness::{Layer, Vault, raw};

#[test]
fn no_way_of_writing_a_path_gets_past_a_policy() {
    let layer = Layer::shared();
    let admin = Vault::of(layer).in_tenant("paths");
    admin.post("secret/data/closed/one", &json!({ "data": { "value": "canary-closed" } })).expect(200);
    admin.post("secret/data/open/one", &json!({ "data": { "value": "opened" } })).expect(200);
    let policy = r#"
        path "secret/data/open/*" { capabilities = ["create", "read", "update", "delete", "list", "patch", "sudo"] }
        path "secret/data/+/two" { capabilities = ["read"] }
    "#;
    admin.post("sys/policies/acl/paths", &json!({ "policy": policy })).expect(204);
    let token = admin.token(&json!({ "policies": ["paths"], "no_default_policy": true }));
    admin.with_token(&token).get("secret/data/open/one").expect(200);
    let long = format!("secret/data/open/{}/../../closed/one", "x/".repeat(2000));
    let paths = [
        "secret/data/closed/one",
        "secret/data/closed/one/",
        "secret/data/open/../closed/one",
        "secret/data/open/%2e%2e/closed/one",
        "secret/data/open/%2E%2E/closed/one",
        "secret/data/open/.%2e/closed/one",
        "secret/data/open/..%2fclosed%2fone",
        "secret/data/open%2f..%2fclosed%2fone",
        "secret/data/open//../closed/one",
        "secret/data/open/./../closed/one",
        "secret//data/closed/one",
        "/secret/data/closed/one",
        "//secret/data/closed/one",
        "./secret/data/closed/one",
        "secret%2fdata%2fclosed%2fone",
        "secret/data/closed%2fone",
        "secret/data%2fclosed/one",
        "%73ecret/data/closed/one",
        "SECRET/data/closed/one",
        "secret/DATA/closed/one",
        "secret/data/CLOSED/one",
        "secret/data/closed/one%00",
        "secret/data/closed/one%00/two",
        "secret/data/closed%2fone/two",
        "secret/data/closed/one%20",
        "secret/data/closed/one%0a",
        "secret/data/closed/one?x=/secret/data/open/one",
        "secret/data/closed/one#/two",
        "secret/data/closed/one;/two",
        "secret/data/open/%c0%ae%c0%ae/closed/one",
        "secret/data/closed%ef%bc%8fone",
        "secret/data/closed/one%e2%80%8b",
        "secret/data/open/%zz",
        "secret/data/open/%",
        "secret/subkeys/closed/one",
        "secret/metadata/closed/one",
        "secret/metadata/closed?list=true",
        "secret/data/+/one",
        "secret/data/*/one",
        "secret/data/closed/*",
        "secret/data/..%2f..%2fsys/policies/acl/paths",
        long.as_str(),
    ];
    // These are names of their own below what is open, however they look; nothing takes their escapes out twice.
    let names = [
        "secret/data/open/%252e%252e/closed/one",
        "secret/data/open/..%252fclosed/one",
        "secret/data/open/..;/closed/one",
        "secret/data/open/..\\closed\\one",
        "secret/data/open/%5c..%5cclosed/one",
        "secret/data/open/%e2%80%a4%e2%80%a4/closed/one",
    ];
    for path in paths.into_iter().chain(names) {
        for method in ["GET", "HEAD", "LIST", "DELETE", "PATCH", "PUT", "POST"] {
            let head =
                format!("{method} /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-vault-namespace: paths\r\n");
            let request = format!(
                "{head}x-vault-token: {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
            );
            let (status, answer) = raw(layer, request.as_bytes());
            let refused = matches!(status, 400 | 403 | 404 | 405 | 414);
            assert!(refused || (names.contains(&path) && matches!(status, 200 | 204)), "{method} {path}: {answer}");
            assert!(!answer.contains("canary"), "{method} {path}: {answer}");
        }
    }
    // Nothing that was sent has changed anything, whoever reads it.
    let read = admin.get("secret/data/closed/one").expect(200);
    assert_eq!(
        (&read["data"]["data"]["value"], &read["data"]["metadata"]["version"]),
        (&json!("canary-closed"), &json!(1))
    );
    assert_eq!(admin.list("secret/metadata").expect(200)["data"]["keys"], json!(["closed/", "open/"]));
    assert_eq!(admin.list("secret/metadata/closed").expect(200)["data"]["keys"], json!(["one"]));
    // An escape that has to be one for a name to be sent at all means that name, and no other.
    admin.post("secret/data/open/a%20b%25", &json!({ "data": { "value": "odd" } })).expect(200);
    let listed = admin.list("secret/metadata/open").expect(200)["data"]["keys"].clone();
    assert!(listed.as_array().unwrap().contains(&json!("a b%")), "{listed}");
    assert_eq!(admin.with_token(&token).get("secret/data/open/a%20b%25").expect(200)["data"]["data"]["value"], "odd");
}
