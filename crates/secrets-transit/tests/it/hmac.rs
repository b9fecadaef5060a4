//! HMACs.

use serde_json::json;

use crate::fixture::{Transit, base64, text, unbase64};

#[tokio::test]
async fn every_type_makes_macs_and_verifies_them() {
    let transit = Transit::open().await;
    for key_type in ["aes256-gcm96", "ed25519", "ecdsa-p256", "rsa-2048", "hmac"] {
        transit.write(&format!("keys/{key_type}"), json!({ "type": key_type })).await;
        for algorithm in ["sha2-224", "sha2-256", "sha2-384", "sha2-512"] {
            let made = transit.write(&format!("hmac/{key_type}/{algorithm}"), json!({ "input": "aGVsbG8=" })).await;
            for (input, valid) in [("aGVsbG8=", true), ("b3RoZXI=", false)] {
                let body = json!({ "input": input, "hmac": made["hmac"], "hash_algorithm": algorithm });
                assert_eq!(transit.write(&format!("verify/{key_type}"), body).await, json!({ "valid": valid }));
            }
        }
    }
    assert_eq!(
        transit.refused("hmac/hmac", json!({ "input": "", "algorithm": "meow" })).await,
        "unsupported algorithm \"meow\""
    );
    assert_eq!(transit.refused("hmac/hmac", json!({})).await, "missing input for HMAC");
    assert_eq!(transit.refused("hmac/none", json!({ "input": "" })).await, "encryption key not found");
}

#[tokio::test]
async fn an_hmac_key_is_its_own_mac_key() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "type": "hmac", "key_size": 48, "exportable": true })).await;
    assert_eq!(transit.read("keys/a").await["key_size"], 48);
    let exported = transit.read("export/hmac-key/a/latest").await;
    let key = unbase64(text(&exported["keys"], "1"));
    assert_eq!(key.len(), 48);
    let expected = aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key), b"hello");
    let made = transit.write("hmac/a", json!({ "input": "aGVsbG8=" })).await;
    assert_eq!(text(&made, "hmac"), format!("vault:v1:{}", base64(expected.as_ref())));
}

#[tokio::test]
async fn versions_count_for_macs_too() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let old = transit.write("hmac/a", json!({ "input": "" })).await;
    transit.write("keys/a/rotate", json!({})).await;
    transit.write("keys/a/rotate", json!({})).await;
    assert!(text(&transit.write("hmac/a", json!({ "input": "" })).await, "hmac").starts_with("vault:v3:"));
    assert_eq!(transit.write("verify/a", json!({ "input": "", "hmac": old["hmac"] })).await["valid"], true);
    transit.write("keys/a/config", json!({ "min_decryption_version": 2, "min_encryption_version": 3 })).await;
    let table = [
        (
            "verify/a",
            json!({ "input": "", "hmac": old["hmac"] }),
            "cannot verify HMAC: version is too old (disallowed by policy)",
        ),
        ("verify/a", json!({ "input": "", "hmac": "vault:v4:AA==" }), "invalid HMAC: version is too new"),
        ("verify/a", json!({ "input": "", "hmac": "x" }), "invalid HMAC to verify: no prefix"),
        ("verify/a", json!({ "input": "", "hmac": "vault:v1" }), "invalid HMAC: wrong number of fields"),
        (
            "hmac/a",
            json!({ "input": "", "key_version": 2 }),
            "cannot generate HMAC: version is too old (disallowed by policy)",
        ),
        ("hmac/a", json!({ "input": "", "key_version": 4 }), "key version does not exist; latest key version is 3"),
        ("hmac/a", json!({ "input": "", "key_version": -1 }), "key version does not exist (cannot be negative)"),
    ];
    for (path, body, error) in table {
        assert_eq!(transit.refused(path, body).await, error);
    }
    let batch = json!([{ "input": "", "reference": "r" }, {}]);
    let made = transit.write("hmac/a", json!({ "batch_input": batch })).await;
    assert_eq!(made["batch_results"][1], json!({ "error": "missing input for HMAC", "reference": "" }));
    let batch =
        json!([{ "input": "", "hmac": made["batch_results"][0]["hmac"] }, { "input": "YQ==", "hmac": old["hmac"] }]);
    let verified = transit.write("verify/a", json!({ "batch_input": batch })).await;
    assert_eq!(verified["batch_results"][0], json!({ "valid": true, "reference": "" }));
    assert!(text(&verified["batch_results"][1], "error").contains("too old"));
}
