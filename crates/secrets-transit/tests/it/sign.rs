//! Signing and verifying.

use aws_lc_rs::signature::{ECDSA_P384_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, RsaPssSaltLength, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::fixture::{Transit, base64, text, unbase64};

const INPUT: &str = "aGFzaCB0aGlzIGlzaA==";

async fn keys(types: &[&str]) -> Transit {
    let transit = Transit::open().await;
    for key_type in types {
        transit.write(&format!("keys/{key_type}"), json!({ "type": key_type })).await;
    }
    transit
}

/// Signs and verifies with the same options, and with changed ones.
async fn round_trip(transit: &Transit, key_type: &str, options: Value) {
    let with = |extra: Value| {
        let mut body = options.clone();
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let input = options.get("input").and_then(Value::as_str).unwrap_or(INPUT);
    let signed = transit.write(&format!("sign/{key_type}"), with(json!({ "input": input }))).await;
    assert_eq!(signed["key_version"], 1);
    let verify = format!("verify/{key_type}");
    let body = with(json!({ "input": input, "signature": signed["signature"] }));
    assert_eq!(transit.write(&verify, body).await, json!({ "valid": true }), "{key_type} {options}");
    let other = if options.get("prehashed").is_some() { base64(&[3; 32]) } else { "b3RoZXI=".to_owned() };
    let body = with(json!({ "input": other, "signature": signed["signature"] }));
    assert_eq!(transit.write(&verify, body).await, json!({ "valid": false }), "{key_type} {options}");
}

#[tokio::test]
async fn every_type_verifies_what_it_signed() {
    let types = ["ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"];
    let transit = keys(&types).await;
    for key_type in types {
        for marshaling in ["asn1", "jws"] {
            for hash in ["sha2-256", "sha2-384", "sha2-512"] {
                round_trip(&transit, key_type, json!({ "marshaling_algorithm": marshaling, "hash_algorithm": hash }))
                    .await;
            }
        }
    }
    for hash in ["sha1", "sha2-224", "sha3-256", "sha3-384", "sha3-512"] {
        for key_type in ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521"] {
            round_trip(&transit, key_type, json!({ "hash_algorithm": hash })).await;
        }
        let body = json!({ "input": INPUT, "hash_algorithm": hash });
        assert!(transit.refused("sign/rsa-2048", body).await.starts_with("unsupported hash algorithm for RSA"));
    }
}

#[tokio::test]
async fn rsa_signs_with_any_salt() {
    let transit = keys(&["rsa-2048"]).await;
    for salt in ["auto", "hash", "-1", "0", "1", "20", "222"] {
        round_trip(&transit, "rsa-2048", json!({ "salt_length": salt })).await;
    }
    round_trip(&transit, "rsa-2048", json!({ "signature_algorithm": "pkcs1v15", "hash_algorithm": "sha2-512" })).await;
    round_trip(&transit, "rsa-2048", json!({ "prehashed": true, "input": base64(&[7; 32]) })).await;
    let table = [
        (json!({ "salt_length": "223" }), "requested salt length 223 is invalid"),
        (json!({ "salt_length": "-2" }), "salt length is invalid: -2"),
        (json!({ "salt_length": "foobar" }), "salt length neither 'auto', 'hash', nor an int: foobar"),
        (json!({ "signature_algorithm": "kitty" }), "unsupported rsa signature algorithm kitty"),
        (json!({ "hash_algorithm": "meow2-256" }), "invalid hash algorithm \"meow2-256\""),
        (json!({ "marshaling_algorithm": "x" }), "invalid marshaling type \"x\""),
        (json!({ "prehashed": true, "input": INPUT }), "crypto/rsa: input must be hashed message"),
        (
            json!({ "hash_algorithm": "none" }),
            "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15",
        ),
    ];
    for (body, error) in table {
        assert_eq!(transit.refused("sign/rsa-2048", body).await, error);
    }

    // Left open, the salt is the longest one, as Go's is; others have to be told that.
    let signed = transit.write("sign/rsa-2048", json!({ "input": INPUT })).await;
    let signature = unbase64(text(&signed, "signature").strip_prefix("vault:v1:").unwrap());
    let key = public_key(&transit, "rsa-2048").await;
    let checks = |salt| {
        let parameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(salt);
        aws_lc_rs::signature::VerificationAlgorithm::verify_sig(&parameters, &key, &unbase64(INPUT), &signature).is_ok()
    };
    assert!(checks(RsaPssSaltLength::Max) && !checks(RsaPssSaltLength::Digest));
}

#[tokio::test]
async fn hashes_of_other_lengths_are_ecdsa_s() {
    let transit = keys(&["ecdsa-p384"]).await;
    let body = json!({ "input": INPUT, "hash_algorithm": "sha2-256" });
    let signed = transit.write("sign/ecdsa-p384", body).await;
    let signature = unbase64(text(&signed, "signature").strip_prefix("vault:v1:").unwrap());
    let key = public_key(&transit, "ecdsa-p384").await;
    UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, key).verify(&unbase64(INPUT), &signature).unwrap();
}

#[tokio::test]
async fn derived_keys_sign_for_their_context() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "type": "ed25519", "derived": true })).await;
    let signed = transit.write("sign/a", json!({ "input": INPUT, "context": "YWFh" })).await;
    for (context, valid) in [("YWFh", true), ("YmJi", false)] {
        let body = json!({ "input": INPUT, "context": context, "signature": signed["signature"] });
        assert_eq!(transit.write("verify/a", body).await["valid"], valid);
    }
    assert!(
        transit.refused("sign/a", json!({ "input": INPUT })).await.starts_with("missing 'context' for key derivation")
    );
}

#[tokio::test]
async fn versions_count_for_signatures_too() {
    let transit = keys(&["ed25519"]).await;
    let old = transit.write("sign/ed25519", json!({ "input": INPUT })).await;
    transit.write("keys/ed25519/rotate", json!({})).await;
    let new = transit.write("sign/ed25519", json!({ "input": INPUT, "key_version": 2 })).await;
    assert!(text(&new, "signature").starts_with("vault:v2:"));
    let verify = |signature: &Value| json!({ "input": INPUT, "signature": signature });
    assert_eq!(transit.write("verify/ed25519", verify(&old["signature"])).await["valid"], true);
    // Another version's number does not make a signature of it.
    let swapped = text(&old, "signature").replace("v1", "v2");
    assert_eq!(transit.write("verify/ed25519", verify(&json!(swapped))).await["valid"], false);
    transit.write("keys/ed25519/config", json!({ "min_decryption_version": 2, "min_encryption_version": 2 })).await;
    let error = transit.refused("verify/ed25519", verify(&old["signature"])).await;
    assert_eq!(error, "ciphertext or signature version is disallowed by policy (too old)");
    let error = transit.refused("sign/ed25519", json!({ "input": INPUT, "key_version": 1 })).await;
    assert_eq!(error, "requested version for signing is less than the minimum encryption key version");
    for (signature, error) in [
        ("x", "invalid signature: no prefix"),
        ("vault:v9:AA==", "invalid signature: version is too new"),
        ("vault:v2:%", "invalid base64 signature value"),
    ] {
        assert_eq!(transit.refused("verify/ed25519", verify(&json!(signature))).await, error);
    }
}

#[tokio::test]
async fn batches_are_signed_and_verified() {
    let transit = keys(&["ed25519", "aes256-gcm96"]).await;
    let batch = json!([{ "input": INPUT, "reference": "r" }, {}, { "input": "%" }]);
    let signed = transit.write("sign/ed25519", json!({ "batch_input": batch })).await;
    let results = &signed["batch_results"];
    assert_eq!((text(&results[0], "reference"), &results[0]["key_version"]), ("r", &json!(1)));
    assert_eq!(results[1], json!({ "error": "missing input", "key_version": 0, "reference": "" }));
    assert!(text(&results[2], "error").starts_with("unable to decode input as base64: illegal base64 data"));
    let batch = json!([
        { "input": INPUT, "signature": results[0]["signature"] }, { "input": "", "signature": results[0]["signature"] },
        { "input": "", "signature": "x" },
    ]);
    let verified = transit.write("verify/ed25519", json!({ "batch_input": batch })).await;
    assert_eq!(
        verified["batch_results"],
        json!([
            { "valid": true, "reference": "" }, { "valid": false, "reference": "" },
            { "valid": false, "error": "invalid signature: no prefix", "reference": "" },
        ])
    );
    let (signature, hmac) = (json!({ "signature": "x" }), json!({ "hmac": "x" }));
    let table = [
        (json!({}), "neither a 'signature' nor an 'hmac' were given to verify"),
        (json!({ "signature": "x", "hmac": "x" }), "provide one of 'signature' or 'hmac'"),
        (
            json!({ "batch_input": [signature, hmac] }),
            "elements of batch_input must all provide 'signature' or all provide 'hmac'",
        ),
        (json!({ "batch_input": [signature, {}] }), "some elements of batch_input are missing 'signature'"),
        (json!({ "batch_input": [hmac, {}] }), "some elements of batch_input are missing 'hmac'"),
        (json!({ "batch_input": [{}] }), "no batch_input elements have 'signature' or 'hmac'"),
    ];
    for (body, error) in table {
        assert_eq!(transit.refused("verify/ed25519", body).await, error);
    }
    assert_eq!(
        transit.refused("sign/aes256-gcm96", json!({ "input": "" })).await,
        "key type aes256-gcm96 does not support signing"
    );
    assert_eq!(transit.refused("sign/none", json!({ "input": "" })).await, "signing key not found");
}

/// The public key that the API shows, as `SubjectPublicKeyInfo`.
async fn public_key(transit: &Transit, name: &str) -> Vec<u8> {
    let shown = transit.read(&format!("keys/{name}")).await;
    let body: String = text(&shown["keys"]["1"], "public_key").lines().filter(|line| !line.starts_with('-')).collect();
    unbase64(&body)
}
