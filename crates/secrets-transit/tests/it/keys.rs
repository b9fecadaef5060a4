//! `keys/`: what is made, shown, configured, rotated, trimmed and deleted.

use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::{Map, Value, json};

use crate::fixture::{NOON, Transit, text};

const TYPES: [&str; 12] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "hmac",
];

#[tokio::test]
async fn a_symmetric_key_shows_what_vault_shows() {
    let transit = Transit::open().await;
    let made = transit.write("keys/a", json!({})).await;
    assert_eq!(made, transit.read("keys/a").await);
    assert_eq!(
        made,
        json!({
            "name": "a", "type": "aes256-gcm96", "derived": false, "deletion_allowed": false,
            "min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0, "latest_version": 1,
            "exportable": false, "allow_plaintext_backup": false, "supports_encryption": true,
            "supports_decryption": true, "supports_signing": false, "supports_derivation": true,
            "auto_rotate_period": 0, "imported_key": false, "keys": { "1": 1_795_262_400 },
        })
    );
    let derived = json!({ "derived": true, "convergent_encryption": true, "auto_rotate_period": "24h" });
    let derived = transit.write("keys/b", derived).await;
    assert_eq!((text(&derived, "kdf"), &derived["convergent_encryption"]), ("hkdf_sha256", &json!(true)));
    assert_eq!(
        (&derived["convergent_encryption_version"], &derived["auto_rotate_period"]),
        (&json!(-1), &json!(86400))
    );
    assert_eq!(
        transit.call(Operation::List, "keys/", json!({})).await.unwrap().data.unwrap()["keys"],
        json!(["a", "b"])
    );
    assert!(matches!(transit.call(Operation::Read, "keys/c", json!({})).await, Err(Refusal::NotFound)));
}

#[tokio::test]
async fn every_type_is_made_and_its_public_key_shown() {
    let transit = Transit::open().await;
    for key_type in TYPES {
        let made = transit.write(&format!("keys/{key_type}"), json!({ "type": key_type })).await;
        assert_eq!(text(&made, "type"), key_type);
        let first = &made["keys"]["1"];
        match key_type {
            "ed25519" => {
                assert_eq!(
                    (text(first, "name"), crate::fixture::unbase64(text(first, "public_key")).len()),
                    ("ed25519", 32)
                );
            }
            _ if key_type.starts_with("ecdsa") || key_type.starts_with("rsa") => {
                assert!(text(first, "public_key").starts_with("-----BEGIN PUBLIC KEY-----\n"), "{first}");
                assert_eq!(text(first, "creation_time"), "2026-11-21T12:00:00.000000Z");
                let name = key_type.replace("ecdsa-p", "P-");
                assert_eq!(text(first, "name"), name);
            }
            _ => assert_eq!(first, &json!(1_795_262_400)),
        }
    }
}

#[tokio::test]
async fn a_key_that_is_there_is_not_made_again() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "type": "ed25519" })).await;
    let again = transit.try_write("keys/a", json!({ "type": "aes256-gcm96" })).await.unwrap();
    assert_eq!(again.warnings, ["key a already existed"]);
    assert_eq!(again.data.unwrap()["type"], "ed25519");
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let transit = Transit::open().await;
    let table = [
        (json!({ "type": "kitty-cat" }), "unknown key type kitty-cat"),
        (json!({ "convergent_encryption": true }), "convergent encryption requires derivation to be enabled"),
        (
            json!({ "type": "rsa-2048", "derived": true }),
            "key derivation and convergent encryption not supported for keys of type rsa-2048",
        ),
        (
            json!({ "type": "ed25519", "derived": true, "convergent_encryption": true }),
            "convergent encryption not supported for keys of type ed25519",
        ),
        (json!({ "key_size": 64 }), "key_size is not valid for algorithm aes256-gcm96"),
        (json!({ "type": "hmac", "key_size": 31 }), "invalid key_size 31"),
        (json!({ "auto_rotate_period": "59m" }), "auto rotate period must be 0 to disable or at least an hour"),
    ];
    for (body, error) in table {
        assert_eq!(transit.refused("keys/a", body).await, error);
    }
    assert!(matches!(transit.call(Operation::List, "keys", json!({})).await, Err(Refusal::NotFound)));
    for path in ["keys/-a", "nothing", "keys/a/b", "encrypt/a/b", "", "keys/a/config/b"] {
        let refusal = transit.try_write(path, json!({})).await.unwrap_err();
        assert!(matches!(refusal, Refusal::UnsupportedPath), "{path}: {refusal:?}");
    }
    for path in ["encrypt/a", "keys/a/config", "hash", "sign/a/sha2-256"] {
        let refusal = transit.call(Operation::Read, path, json!({})).await.unwrap_err();
        assert!(matches!(refusal, Refusal::UnsupportedOperation), "{path}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_key_is_deleted_where_that_is_allowed() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let deleted = transit.call(Operation::Delete, "keys/a", json!({})).await.unwrap_err();
    assert_eq!(deleted.to_string(), "error deleting policy a: deletion is not allowed for this key");
    transit.write("keys/a/config", json!({ "deletion_allowed": true })).await;
    let deleted = transit.call(Operation::Delete, "keys/a", json!({})).await.unwrap();
    assert!(deleted.data.is_none());
    assert_eq!(
        transit.refused("decrypt/a", json!({ "ciphertext": "vault:v1:AAAA" })).await,
        "encryption key not found"
    );
    let deleted = transit.call(Operation::Delete, "keys/a", json!({})).await.unwrap_err();
    assert_eq!(deleted.to_string(), "error deleting policy a: could not delete key; not found");
    assert_eq!(transit.storage.keys("", None, 10).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn versions_out_of_use_move_to_the_archive_and_back() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let mut ciphertexts = Vec::new();
    for _ in 0..5 {
        let encrypted = transit.write("encrypt/a", json!({ "plaintext": "aGVsbG8=" })).await;
        ciphertexts.push(text(&encrypted, "ciphertext").to_owned());
        transit.write("keys/a/rotate", json!({})).await;
    }
    let configured = transit.write("keys/a/config", json!({ "min_decryption_version": 4 })).await;
    assert_eq!(configured["keys"].as_object().unwrap().keys().collect::<Vec<_>>(), ["4", "5", "6"]);
    assert_eq!(transit.storage.keys("", None, 10).await.unwrap(), ["archive/a", "policy/a"]);
    let too_old = "ciphertext or signature version is disallowed by policy (too old)";
    for (position, ciphertext) in ciphertexts.iter().enumerate() {
        let decrypted = transit.try_write("decrypt/a", json!({ "ciphertext": ciphertext })).await;
        match decrypted {
            Ok(answer) => assert!(position >= 3 && answer.data.unwrap()["plaintext"] == "aGVsbG8="),
            Err(refusal) => assert!(position < 3 && refusal.to_string() == too_old),
        }
    }
    let configured = transit.write("keys/a/config", json!({ "min_decryption_version": 2 })).await;
    assert_eq!(configured["keys"].as_object().unwrap().len(), 5);
    let decrypted = transit.write("decrypt/a", json!({ "ciphertext": ciphertexts[1] })).await;
    assert_eq!(decrypted["plaintext"], "aGVsbG8=");

    // What is trimmed is gone for ever.
    transit.write("keys/a/config", json!({ "min_encryption_version": 3, "min_decryption_version": 3 })).await;
    let trimmed = transit.write("keys/a/trim", json!({ "min_available_version": 3 })).await;
    assert_eq!(trimmed["min_available_version"], 3);
    assert_eq!(transit.storage.keys("", None, 10).await.unwrap(), ["policy/a"]);
    let lowered = transit.refused("keys/a/config", json!({ "min_decryption_version": 2 })).await;
    assert_eq!(lowered, "min decryption version should not be less then min available version");
}

#[tokio::test]
async fn bounds_of_versions_are_vault_s() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    for _ in 0..3 {
        transit.write("keys/a/rotate", json!({})).await;
    }
    let config = [
        (json!({ "min_decryption_version": -1 }), "min decryption version cannot be negative"),
        (json!({ "min_decryption_version": 5 }), "cannot set min decryption version of 5, latest key version is 4"),
        (json!({ "min_encryption_version": -1 }), "min encryption version cannot be negative"),
        (json!({ "min_encryption_version": 5 }), "cannot set min encryption version of 5, latest key version is 4"),
        (
            json!({ "min_encryption_version": 2, "min_decryption_version": 3 }),
            "cannot set min encryption/decryption values; min encryption version of 2 must be greater than or equal to \
             min decryption version of 3",
        ),
    ];
    for (body, error) in config {
        assert_eq!(transit.refused("keys/a/config", body).await, error);
    }
    let trim = |wanted: i64| json!({ "min_available_version": wanted });
    let prefix = "minimum available version";
    assert_eq!(transit.refused("keys/a/trim", json!({})).await, "missing min_available_version");
    assert_eq!(
        transit.refused("keys/a/trim", trim(1)).await,
        format!("{prefix} cannot be set when minimum encryption version is not set")
    );
    transit.write("keys/a/config", json!({ "min_encryption_version": 3, "min_decryption_version": 2 })).await;
    assert_eq!(
        transit.refused("keys/a/trim", trim(4)).await,
        format!("{prefix} cannot be greater than minmum encryption version")
    );
    assert_eq!(
        transit.refused("keys/a/trim", trim(3)).await,
        format!("{prefix} cannot be greater than minimum decryption version")
    );
    assert_eq!(transit.refused("keys/a/trim", trim(0)).await, format!("{prefix} should be positive"));
    transit.write("keys/a/trim", trim(2)).await;
    assert_eq!(transit.refused("keys/a/trim", trim(1)).await, format!("{prefix} cannot be decremented"));
    assert_eq!(
        transit.refused("keys/a/config", json!({ "min_encryption_version": 0 })).await,
        "min encryption version should not be less than min available version"
    );

    let encrypt = |version: i64| json!({ "plaintext": "", "key_version": version });
    let requested = "requested version for encryption is";
    assert_eq!(transit.refused("encrypt/a", encrypt(-1)).await, format!("{requested} negative"));
    assert_eq!(
        transit.refused("encrypt/a", encrypt(5)).await,
        format!("{requested} higher than the latest key version")
    );
    assert_eq!(
        transit.refused("encrypt/a", encrypt(2)).await,
        format!("{requested} less than the minimum encryption key version")
    );
    assert_eq!(transit.write("encrypt/a", encrypt(3)).await["key_version"], 3);
}

#[tokio::test]
async fn what_is_given_out_is_not_taken_back() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "exportable": true })).await;
    let body = json!({ "exportable": false, "allow_plaintext_backup": true, "min_decryption_version": 0 });
    let configured = transit.try_write("keys/a/config", body).await.unwrap();
    assert_eq!(configured.warnings.len(), 1);
    let configured = configured.data.unwrap();
    assert_eq!((&configured["exportable"], &configured["allow_plaintext_backup"]), (&json!(true), &json!(true)));
    assert_eq!(transit.refused("keys/b/config", json!({})).await, "no existing key named b could be found");
}

#[tokio::test]
async fn keys_rotate_by_themselves_when_their_period_is_over() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "auto_rotate_period": "2h" })).await;
    transit.write("keys/b", json!({})).await;
    let latest = |name: &'static str| {
        let transit = transit.clone();
        async move { transit.read(&format!("keys/{name}")).await["latest_version"].clone() }
    };
    for (hours, expected) in [(1, 1), (2, 1), (4, 2), (5, 2), (7, 3)] {
        transit.backend.tend(NOON.plus_seconds(hours * 3600)).await.unwrap();
        assert_eq!(latest("a").await, expected, "after {hours} hours");
    }
    assert_eq!(latest("b").await, 1);
}

#[tokio::test]
async fn the_mount_s_settings_are_kept() {
    let transit = Transit::open().await;
    assert_eq!(transit.read("cache-config").await, json!({ "size": 0 }));
    assert_eq!(
        transit.refused("cache-config", json!({ "size": 9 })).await,
        "size must be 0 or a value greater or equal to 10"
    );
    assert_eq!(transit.write("cache-config", json!({ "size": 500 })).await, json!({ "size": 500 }));
    assert_eq!(
        transit.write("config/keys", json!({ "disable_upsert": true })).await,
        json!({ "disable_upsert": true })
    );
    let transit = Transit::open_on(transit.storage).await;
    assert_eq!(transit.read("cache-config").await, json!({ "size": 500 }));
    assert_eq!(transit.read("config/keys").await, json!({ "disable_upsert": true }));
    assert_eq!(transit.refused("encrypt/a", json!({ "plaintext": "" })).await, "encryption key not found");
}

#[tokio::test]
async fn random_bytes_and_hashes_need_no_key() {
    let transit = Transit::open().await;
    let random = |path: &'static str, body: Value| {
        let transit = transit.clone();
        async move { text(&transit.write(path, body).await, "random_bytes").to_owned() }
    };
    assert_eq!(random("random", json!({ "format": "hex" })).await.len(), 64);
    assert_eq!(random("random/16", json!({ "format": "hex" })).await.len(), 32);
    assert_eq!(crate::fixture::unbase64(&random("random/platform/7", json!({})).await).len(), 7);
    assert_eq!(crate::fixture::unbase64(&random("random/all", json!({ "bytes": "5" })).await).len(), 5);
    assert_ne!(random("random", json!({})).await, random("random", json!({})).await);
    assert!(transit.refused("random", json!({ "bytes": 0 })).await.contains("less than 1"));
    assert!(transit.refused("random", json!({ "bytes": 200_000 })).await.contains("should be less than"));
    transit.refused("random/kitty", json!({})).await;
    transit.refused("random", json!({ "format": "kitty64" })).await;

    // FIPS 180 and 202, the hash of "abc".
    let sum = transit.write("hash", json!({ "input": "YWJj" })).await;
    assert_eq!(sum["sum"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let sum = transit.write("hash/sha2-224", json!({ "input": "YWJj" })).await;
    assert_eq!(sum["sum"], "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    let sum = transit.write("hash", json!({ "input": "YWJj", "algorithm": "sha3-256", "format": "base64" })).await;
    assert_eq!(sum["sum"], "Ophdp0/iJbIEXBcta9OQvYVfCG4+nVJbRr/iRRFDFTI=");
    assert_eq!(
        transit.refused("hash", json!({ "input": "YWJj", "algorithm": "meow" })).await,
        "unsupported algorithm meow"
    );
    assert_eq!(transit.refused("hash", Value::Object(Map::new())).await, "input missing");
}
