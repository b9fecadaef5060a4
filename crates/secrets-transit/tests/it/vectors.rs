//! What another implementation made with the same raw keys. The expected texts were computed with Python's
//! `cryptography` 48 by Vault's rules; the keys come in through a backup as Vault writes one.

use serde_json::{Value, json};

use crate::fixture::{Transit, base64, text};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SHORT_KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
const ED25519_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
const HELLO: &str = "aGVsbG8=";
const CONTEXT: &str = "Y29udGV4dA==";

/// A backup in the shape that Vault 1.14 gives it.
pub fn vault_backup(key_type: u8, key: &str, derived: bool, convergent: bool) -> String {
    let version = json!({
        "key": key, "hmac_key": "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=", "time": "2024-05-06T07:08:09.123456789Z",
        "ec_x": null, "ec_y": null, "ec_d": null, "rsa_key": null, "rsa_public_key": null, "public_key": "",
        "convergent_version": if convergent { 3 } else { 0 }, "creation_time": 1_714_979_289, "managed_key_id": "",
    });
    let nothing = json!({
        "key": null, "hmac_key": null, "time": "0001-01-01T00:00:00Z", "ec_x": null, "ec_y": null, "ec_d": null,
        "rsa_key": null, "rsa_public_key": null, "public_key": "", "convergent_version": 0, "creation_time": 0,
    });
    let backup = json!({
        "policy": {
            "name": "moved", "keys": { "1": version }, "derived": derived, "kdf": u8::from(derived),
            "convergent_encryption": convergent, "exportable": true, "min_decryption_version": 1,
            "min_encryption_version": 0, "latest_version": 1, "archive_version": 1, "archive_min_version": 0,
            "min_available_version": 0, "deletion_allowed": false, "convergent_version": if convergent { -1 } else { 0 },
            "type": key_type, "backup_info": { "time": "2024-05-07T07:08:09.123456789Z", "version": 1 },
            "restore_info": null, "allow_plaintext_backup": true, "version_template": "", "storage_prefix": "",
            "auto_rotate_period": 0, "Imported": false, "AllowImportedKeyRotation": false,
        },
        "archived_keys": { "keys": [nothing, version] },
    });
    base64(backup.to_string().as_bytes())
}

async fn restored(key_type: u8, key: &str, derived: bool, convergent: bool) -> Transit {
    let transit = Transit::open().await;
    transit.write("restore", json!({ "backup": vault_backup(key_type, key, derived, convergent) })).await;
    transit
}

#[tokio::test]
async fn ciphertexts_of_another_vault_are_decrypted() {
    let table = [
        (0, KEY, "vault:v1:ZGVmZ2hpamtsbW5vIH6yChbJcuCzKlH6qT4Awt77OvFF"),
        (8, SHORT_KEY, "vault:v1:ZGVmZ2hpamtsbW5vcgciybRmK8M2JHTzE8kE0eHSP0ez"),
        (5, KEY, "vault:v1:ZGVmZ2hpamtsbW5vXHTXpveHih2pHQXAKLYnuVNYdZNx"),
    ];
    for (key_type, key, ciphertext) in table {
        let transit = restored(key_type, key, false, false).await;
        let decrypted = transit.write("decrypt/moved", json!({ "ciphertext": ciphertext })).await;
        assert_eq!(decrypted["plaintext"], HELLO, "type {key_type}");
    }
    let transit = restored(0, KEY, false, false).await;
    let bound = "vault:v1:ZGVmZ2hpamtsbW5vIH6yChYNxMv3h6smkZlhU9+q48Wu";
    let decrypted = transit.write("decrypt/moved", json!({ "ciphertext": bound, "associated_data": "YWFk" })).await;
    assert_eq!(decrypted["plaintext"], HELLO);
    let mac = transit.write("hmac/moved", json!({ "input": HELLO })).await;
    assert_eq!(mac["hmac"], "vault:v1:AQQykAlNzSEQds2eZsR49XiRhWw9v1lQ9RFBkRtspDM=");
}

#[tokio::test]
async fn convergent_ciphertexts_are_the_same_to_the_byte() {
    let table = [
        (0, KEY, "vault:v1:YHxkZ17/p5CjtzwltC9FVK89YaVi6WzT2zA+Pc3wOdjI"),
        (8, SHORT_KEY, "vault:v1:vAfoJpJMOk2ogenwuMk+SRv0PlVAn8B+eOrCsNzu3dTB"),
        (5, KEY, "vault:v1:YHxkZ17/p5CjtzwlHjlvoGu36H8IyTh2Btd4TfvKZHpZ"),
    ];
    for (key_type, key, ciphertext) in table {
        let transit = restored(key_type, key, true, true).await;
        let encrypted = transit.write("encrypt/moved", json!({ "plaintext": HELLO, "context": CONTEXT })).await;
        assert_eq!(encrypted["ciphertext"], ciphertext, "type {key_type}");
        let body = json!({ "ciphertext": ciphertext, "context": CONTEXT });
        assert_eq!(transit.write("decrypt/moved", body).await["plaintext"], HELLO);
    }
}

#[tokio::test]
async fn ed25519_signatures_are_the_same_to_the_byte() {
    let transit = restored(2, ED25519_KEY, false, false).await;
    let signed = transit.write("sign/moved", json!({ "input": HELLO })).await;
    let expected = "vault:v1:4af8qUqDUSeIW5ni66cz1u5b9dxGPtg4Xrbx3KoRF8DxUXUKEPRvWzeWqRIDV49wLIXGfDNLVomlFihNSZ9xDw==";
    assert_eq!(signed, json!({ "signature": expected, "key_version": 1 }));

    let transit = restored(2, ED25519_KEY, true, false).await;
    let signed = transit.write("sign/moved", json!({ "input": HELLO, "context": CONTEXT })).await;
    let expected = "vault:v1:HDoQY7RLcdzR0x0xIVAH6VK659muKiDOay9SC7DWaGXcmU/dKSkzJHiWCfjnXXj3eVTR8zrM5gjXvnmA3o7BBA==";
    let public_key = "lohzBGYaBlHuiSsInj0EzeA8XOx9fI4BGjYa/0Hxez8=";
    assert_eq!(signed, json!({ "signature": expected, "key_version": 1, "public_key": public_key }));
    let request = transit.request(
        mainstay_secrets_engine::Operation::Read,
        "keys/moved",
        json!({ "context": CONTEXT }),
        crate::fixture::NOON,
    );
    let shown = transit.backend.handle(&request).await.unwrap().data.unwrap();
    assert_eq!(shown["keys"]["1"]["public_key"], public_key);
    assert_eq!(transit.read("keys/moved").await["keys"]["1"]["public_key"], "");
}

#[tokio::test]
async fn what_another_vault_has_and_we_have_not_is_refused() {
    let transit = Transit::open().await;
    let changed = |name: &str, value: Value| {
        let backup = crate::fixture::unbase64(&vault_backup(0, KEY, true, true));
        let mut backup: Value = serde_json::from_slice(&backup).unwrap();
        backup["policy"][name] = value;
        base64(backup.to_string().as_bytes())
    };
    let table = [
        ("kdf", json!(0)),
        ("type", json!(77)),
        ("version_template", json!("other:{{version}}:")),
        ("min_decryption_version", json!(2)),
        ("latest_version", json!(2)),
        ("latest_version", json!(0)),
        ("min_available_version", json!(2)),
        ("min_encryption_version", json!(9)),
        ("type", json!(1)),
    ];
    for (name, value) in table {
        let error = transit.refused("restore", json!({ "backup": changed(name, value.clone()) })).await;
        assert!(error.starts_with("the backup cannot be restored: "), "{name} {value}: {error}");
    }
    let error = transit.refused("restore", json!({ "backup": "bm9uc2Vuc2U=" })).await;
    assert_eq!(error, "the backup is not one of a transit key, or is damaged");
    let short = transit.try_write("restore", json!({ "backup": vault_backup(0, SHORT_KEY, false, false) })).await;
    assert!(
        short.is_err() && text(&json!({ "error": short.unwrap_err().to_string() }), "error").contains("cannot be read")
    );
}
