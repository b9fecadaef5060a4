//! Exporting, backing up and restoring.

use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::json;

use crate::fixture::{Transit, base64, text, unbase64};

const ALL: [&str; 9] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p521",
    "rsa-2048",
    "hmac",
];

async fn refused(transit: &Transit, path: &str, body: serde_json::Value) -> String {
    match transit.call(Operation::Read, path, body).await {
        Err(Refusal::Invalid(text)) => text,
        other => panic!("{path} is refused as invalid, and was: {other:?}"),
    }
}

#[tokio::test]
async fn keys_are_exported_in_vault_s_forms() {
    let transit = Transit::open().await;
    let export = |path: &'static str, format: &'static str| {
        let transit = transit.clone();
        async move {
            let answer = transit.call(Operation::Read, &format!("export/{path}"), json!({ "format": format })).await;
            let data = answer.unwrap_or_else(|refusal| panic!("{path}: {refusal}")).data.unwrap();
            text(&data["keys"], "1").to_owned()
        }
    };
    for name in ["aes256-gcm96", "ed25519", "ecdsa-p256", "rsa-2048"] {
        transit.write(&format!("keys/{name}"), json!({ "type": name, "exportable": true })).await;
        let mac = transit.read(&format!("export/hmac-key/{name}")).await;
        assert_eq!((text(&mac, "name"), text(&mac, "type")), (name, name));
        assert_eq!((mac["keys"].as_object().unwrap().len(), unbase64(text(&mac["keys"], "1")).len()), (1, 32));
    }
    assert_eq!(unbase64(&export("encryption-key/aes256-gcm96/1", "").await).len(), 32);
    assert_eq!(unbase64(&export("signing-key/ed25519", "").await).len(), 64);
    let begins = |text: String, label: &str| {
        assert!(text.starts_with(&format!("-----BEGIN {label}-----\n")), "{text}");
        assert!(text.trim_end().ends_with(&format!("-----END {label}-----")), "{text}");
    };
    begins(export("signing-key/ecdsa-p256", "").await, "EC PRIVATE KEY");
    begins(export("signing-key/ecdsa-p256", "pem").await, "PRIVATE KEY");
    begins(export("signing-key/ed25519", "pem").await, "PRIVATE KEY");
    begins(export("signing-key/rsa-2048/v1", "").await, "RSA PRIVATE KEY");
    begins(export("encryption-key/rsa-2048/latest", "pem").await, "PRIVATE KEY");
    for name in ["public-key/ecdsa-p256", "public-key/rsa-2048"] {
        begins(export(name, "").await, "PUBLIC KEY");
    }
    // What is exported is a key that another program reads.
    let pkcs8 = unbase64(&export("signing-key/rsa-2048", "der").await);
    assert!(aws_lc_rs::rsa::KeyPair::from_pkcs8(&pkcs8).is_ok());
    let body = |pem: String| unbase64(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
    assert!(aws_lc_rs::rsa::KeyPair::from_der(&body(export("signing-key/rsa-2048", "").await)).is_ok());
    let sec1 = body(export("signing-key/ecdsa-p256", "").await);
    let signing = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    assert!(aws_lc_rs::signature::EcdsaKeyPair::from_private_key_der(signing, &sec1).is_ok());

    let table = [
        ("export/kitty/ed25519", "", "invalid export type: kitty"),
        ("export/signing-key/ed25519", "x", "invalid format: x"),
        ("export/encryption-key/ed25519", "", "encryption not supported for the key"),
        ("export/signing-key/aes256-gcm96", "", "signing not supported for the key"),
        ("export/hmac-key/ed25519/2", "", "version does not exist or cannot be found"),
        ("export/hmac-key/ed25519/0", "", "version for export is below minimum decryption version"),
        ("export/hmac-key/ed25519/x", "", "invalid key version"),
        (
            "export/signing-key/rsa-2048",
            "raw",
            "unknown key format for rsa key; supported values are ``, `der`, or `pem`",
        ),
    ];
    for (path, format, error) in table {
        assert_eq!(refused(&transit, path, json!({ "format": format })).await, error);
    }
    transit.write("keys/closed", json!({ "type": "ed25519" })).await;
    assert_eq!(
        refused(&transit, "export/signing-key/closed", json!({})).await,
        "private key material is not exportable"
    );
    transit.read("export/public-key/closed").await;
    assert!(matches!(transit.call(Operation::Read, "export/hmac-key/none", json!({})).await, Err(Refusal::NotFound)));
}

#[tokio::test]
async fn a_backup_restores_everything() {
    for name in ALL {
        let transit = Transit::open().await;
        let body = json!({ "type": name, "exportable": true, "allow_plaintext_backup": true });
        transit.write(&format!("keys/{name}"), body).await;
        for _ in 0..3 {
            transit.write(&format!("keys/{name}/rotate"), json!({})).await;
        }
        let old = transit.write(&format!("hmac/{name}"), json!({ "input": "", "key_version": 1 })).await;
        // Versions below the bound come with the backup too.
        transit.write(&format!("keys/{name}/config"), json!({ "min_decryption_version": 3 })).await;
        let backup = transit.read(&format!("backup/{name}")).await["backup"].clone();
        let shown = transit.read(&format!("keys/{name}")).await;
        assert_eq!(shown["backup_info"]["version"], 4);

        let other = Transit::open().await;
        let answer = other.try_write("restore", json!({ "backup": backup })).await.unwrap();
        assert!(answer.data.is_none());
        let mut restored = other.read(&format!("keys/{name}")).await;
        assert_eq!(restored["restore_info"]["version"], 4);
        restored.as_object_mut().unwrap().remove("restore_info");
        assert_eq!(restored, shown, "{name}");
        other.write(&format!("keys/{name}/config"), json!({ "min_decryption_version": 1 })).await;
        let body = json!({ "input": "", "hmac": old["hmac"] });
        assert_eq!(other.write(&format!("verify/{name}"), body).await["valid"], true);

        let exists = other.try_write("restore", json!({ "backup": backup })).await.unwrap_err();
        assert!(matches!(exists, Refusal::Failed { .. }));
        assert_eq!(exists.to_string(), format!("key {name:?} already exists"));
        other.write("restore", json!({ "backup": backup, "force": true })).await;
        other.write("restore/renamed", json!({ "backup": backup })).await;
        assert_eq!(text(&other.read("keys/renamed").await, "name"), "renamed");
    }
}

#[tokio::test]
async fn a_backup_has_to_be_allowed() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let table = [
        (json!({}), "exporting is disallowed on the policy"),
        (json!({ "exportable": true }), "plaintext backup is disallowed on the policy"),
    ];
    for (body, error) in table {
        transit.write("keys/a/config", body).await;
        let refusal = transit.call(Operation::Read, "backup/a", json!({})).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Failed { .. }) && refusal.to_string() == error, "{refusal:?}");
    }
    let refusal = transit.call(Operation::Read, "backup/b", json!({})).await.unwrap_err();
    assert_eq!(refusal.to_string(), "key \"b\" not found");
    assert_eq!(transit.refused("restore", json!({})).await, "'backup' must be supplied");
}

/// The backup names the key; a name that leaves its folder is not taken.
#[tokio::test]
async fn a_backup_cannot_choose_any_place() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "exportable": true, "allow_plaintext_backup": true })).await;
    let backup = unbase64(text(&transit.read("backup/a").await, "backup"));
    let renamed = String::from_utf8(backup).unwrap().replace(r#""name":"a""#, r#""name":"../config/keys""#);
    let error = transit.refused("restore", json!({ "backup": base64(renamed.as_bytes()) })).await;
    assert!(error.contains("names a key that cannot be"), "{error}");
}
