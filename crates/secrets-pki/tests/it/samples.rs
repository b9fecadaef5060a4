//! What earlier versions stored is still read.

use mainstay_secrets_engine::Storage;
use serde_json::{Value, json};

use crate::mount::{Files, Pki, text};

/// The entries of a small mount as version 1 stored them. The keys in it were made for this file alone.
const VERSION_1: &str = include_str!("samples/version-1.json");

#[tokio::test]
async fn a_mount_of_version_1_opens_and_works() {
    let storage = Storage::scratch().await;
    let entries: serde_json::Map<String, Value> = serde_json::from_str(VERSION_1).unwrap();
    for (key, value) in &entries {
        storage.put(key, value).await.unwrap();
    }
    let pki = Pki::over(storage).await;
    let leaf = pki.write("issue/web", json!({"common_name": "a.example.com"})).await;
    let files = Files::new(&[
        ("root.pem", text(&leaf, "issuing_ca").as_bytes()),
        ("leaf.pem", text(&leaf, "certificate").as_bytes()),
        ("crl.pem", &pki.raw("crl/pem").await.unwrap().1),
    ]);
    files.openssl("verify -crl_check -CRLfile crl.pem -CAfile root.pem leaf.pem").unwrap();
    assert_eq!(pki.list("certs/revoked").await.len(), 1);
    assert_eq!(pki.read("config/crl").await["expiry"], "48h");
}

/// Writes the sample of the present version: run it when the version changes, and keep the old ones.
#[tokio::test]
#[ignore = "writes a file of the source tree"]
async fn write_the_sample() {
    let pki = Pki::new().await;
    let root = json!({"common_name": "Root", "key_type": "ec", "ttl": "86000h", "issuer_name": "root"});
    pki.write("root/generate/internal", root).await;
    let role = json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "ttl": "1h"});
    pki.write("roles/web", role).await;
    pki.write("config/crl", json!({"expiry": "48h"})).await;
    pki.write("config/urls", json!({"ocsp_servers": "http://127.0.0.1/ocsp"})).await;
    let leaf = pki.write("issue/web", json!({"common_name": "old.example.com"})).await;
    pki.write("revoke", json!({"serial_number": leaf["serial_number"]})).await;
    pki.raw("crl").await;
    let mut entries = serde_json::Map::new();
    for key in pki.storage.keys("", None, 1_000).await.unwrap() {
        entries.insert(key.clone(), pki.storage.value(&key).await.unwrap().unwrap());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/samples/version-1.json");
    std::fs::write(path, serde_json::to_string_pretty(&entries).unwrap() + "\n").unwrap();
}
