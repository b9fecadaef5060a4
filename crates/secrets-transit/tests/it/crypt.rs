//! Encrypting, decrypting, rewrapping.

use mainstay_secrets_engine::Operation;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::fixture::{Transit, base64, text, unbase64};

const CIPHERS: [&str; 4] = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

#[tokio::test]
async fn encrypting_makes_a_key_where_the_caller_may() {
    let transit = Transit::open().await;
    let request = transit.request(Operation::Update, "encrypt/new", json!({ "plaintext": "" }), crate::fixture::NOON);
    assert_eq!(transit.backend.exists(&request).await.unwrap(), Some(false));
    let refusal = transit.backend.handle(&request).await.unwrap_err();
    assert_eq!(refusal.to_string(), "encryption key not found");

    transit.write("encrypt/new", json!({ "plaintext": "", "type": "chacha20-poly1305" })).await;
    assert_eq!(transit.backend.exists(&request).await.unwrap(), Some(true));
    let shown = transit.read("keys/new").await;
    assert_eq!((text(&shown, "type"), &shown["derived"]), ("chacha20-poly1305", &json!(false)));
    let body = json!({ "plaintext": "", "context": "Y29udGV4dA==", "convergent_encryption": true });
    transit.write("encrypt/derived", body).await;
    assert_eq!(transit.read("keys/derived").await["convergent_encryption"], true);
    let late = transit.call(Operation::Create, "encrypt/new", json!({ "plaintext": "" })).await.unwrap();
    assert_eq!(late.warnings.len(), 1);

    let table = [
        (json!({}), "missing plaintext to encrypt"),
        (json!({ "plaintext": "", "type": "rsa-2048" }), "key type rsa-2048 not supported for this operation"),
        (json!({ "plaintext": "", "type": "meow" }), "unknown key type meow"),
        (
            json!({ "plaintext": "", "convergent_encryption": true }),
            "convergent encryption requires derivation to be enabled, so context is required",
        ),
    ];
    for (body, error) in table {
        assert_eq!(transit.refused("encrypt/other", body).await, error);
    }
    assert_eq!(
        transit.call(Operation::List, "keys", json!({})).await.unwrap().data.unwrap()["keys"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test]
async fn mistakes_have_vault_s_words() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    transit.write("keys/derived", json!({ "derived": true })).await;
    transit.write("keys/signing", json!({ "type": "ed25519" })).await;
    transit.write("keys/rsa", json!({ "type": "rsa-2048" })).await;
    let no_context = "missing 'context' for key derivation; the key was created using a derived key, which means \
                      additional, per-request information must be included in order to perform operations with the key";
    let table = [
        ("encrypt/a", json!({ "plaintext": "the quick" }), "illegal base64 data at input byte 3"),
        ("encrypt/a", json!({ "plaintext": "", "nonce": "AAAA" }), "nonce provided when not allowed"),
        ("encrypt/derived", json!({ "plaintext": "" }), no_context),
        ("encrypt/signing", json!({ "plaintext": "" }), "message encryption not supported for key type ed25519"),
        (
            "decrypt/signing",
            json!({ "ciphertext": "vault:v1:AA==" }),
            "message decryption not supported for key type ed25519",
        ),
        ("decrypt/a", json!({}), "missing ciphertext to decrypt"),
        ("decrypt/a", json!({ "ciphertext": "abc" }), "invalid ciphertext: no prefix"),
        ("decrypt/a", json!({ "ciphertext": "vault:v1" }), "invalid ciphertext: wrong number of fields"),
        (
            "decrypt/a",
            json!({ "ciphertext": "vault:vx:AA==" }),
            "invalid ciphertext: version number could not be decoded",
        ),
        ("decrypt/a", json!({ "ciphertext": "vault:v2:AA==" }), "invalid ciphertext: version is too new"),
        ("decrypt/a", json!({ "ciphertext": "vault:v1:%" }), "invalid ciphertext: could not decode base64"),
        ("decrypt/a", json!({ "ciphertext": "vault:v1:AA==" }), "invalid ciphertext length"),
        ("decrypt/a", json!({ "batch_input": [] }), "missing batch input to process"),
        ("rewrap/none", json!({ "ciphertext": "vault:v1:AA==" }), "encryption key not found"),
        ("datakey/other/a", json!({}), "Invalid path, must be 'plaintext' or 'wrapped'"),
        ("datakey/wrapped/a", json!({ "bits": 100 }), "invalid bit length"),
        (
            "encrypt/rsa",
            json!({ "plaintext": "", "associated_data": "YWFk" }),
            "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048",
        ),
        (
            "encrypt/derived",
            json!({ "batch_input": [{ "plaintext": "", "context": "YWFh" }, { "plaintext": "" }] }),
            "context should be set either in all the request blocks or in none",
        ),
    ];
    for (path, body, error) in table {
        assert_eq!(transit.refused(path, body.clone()).await, error, "{path} {body}");
    }
}

#[tokio::test]
async fn a_batch_says_for_each_item_how_it_went() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let batch = json!([
        { "plaintext": "aGVsbG8=", "reference": "first" }, { "plaintext": "%%" }, { "plaintext": "d29ybGQ=", "key_version": 1 },
    ]);
    let answer = transit.try_write("encrypt/a", json!({ "batch_input": batch })).await.unwrap();
    assert_eq!(answer.status, Some(400));
    let results = answer.data.unwrap()["batch_results"].clone();
    assert_eq!(results[1], json!({ "error": "illegal base64 data at input byte 0", "reference": "" }));
    assert_eq!((text(&results[0], "reference"), &results[0]["key_version"]), ("first", &json!(1)));

    let batch = json!([
        { "ciphertext": results[0]["ciphertext"], "reference": "x" }, { "ciphertext": "" }, { "ciphertext": results[2]["ciphertext"] },
    ]);
    for (code, status) in [(json!(null), 400), (json!(206), 206), (json!(1000), 400)] {
        let body = json!({ "batch_input": batch, "partial_failure_response_code": code });
        let answer = transit.try_write("decrypt/a", body).await.unwrap();
        assert_eq!(answer.status, Some(status));
        assert_eq!(answer.warnings.len(), usize::from(code == 1000));
        assert_eq!(
            answer.data.unwrap()["batch_results"],
            json!([
                { "plaintext": "aGVsbG8=", "reference": "x" },
                { "plaintext": "", "error": "missing ciphertext to decrypt", "reference": "" },
                { "plaintext": "d29ybGQ=", "reference": "" },
            ])
        );
    }
    // Where nothing at all went well, the status is not the caller's to choose.
    let body = json!({ "batch_input": [{ "ciphertext": "" }], "partial_failure_response_code": 206 });
    assert_eq!(transit.try_write("decrypt/a", body).await.unwrap().status, Some(400));
    let rewrapped = transit.try_write("rewrap/a", json!({ "batch_input": batch })).await.unwrap();
    assert_eq!(rewrapped.status, None);
    assert_eq!(rewrapped.data.unwrap()["batch_results"][1]["error"], "missing ciphertext to decrypt");

    // Long enough to be worked on beside the async threads.
    let many: Vec<Value> = (0..500_u32).map(|number| json!({ "plaintext": base64(&number.to_be_bytes()) })).collect();
    let encrypted = transit.write("encrypt/a", json!({ "batch_input": many })).await;
    let decrypted = transit.write("decrypt/a", json!({ "batch_input": encrypted["batch_results"] })).await;
    for (number, result) in decrypted["batch_results"].as_array().unwrap().iter().enumerate() {
        assert_eq!(unbase64(text(result, "plaintext")), (number as u32).to_be_bytes());
    }
    let many = vec![json!({ "plaintext": "" }); 65_537];
    assert!(transit.refused("encrypt/a", json!({ "batch_input": many })).await.contains("send it in parts"));
}

#[tokio::test]
async fn rewrapping_brings_to_the_latest_version() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let old = transit.write("encrypt/a", json!({ "plaintext": "aGVsbG8=" })).await;
    transit.write("keys/a/rotate", json!({})).await;
    let new = transit.write("rewrap/a", json!({ "ciphertext": old["ciphertext"] })).await;
    assert!(text(&new, "ciphertext").starts_with("vault:v2:") && new["key_version"] == 2);
    for ciphertext in [&old["ciphertext"], &new["ciphertext"]] {
        assert_eq!(transit.write("decrypt/a", json!({ "ciphertext": ciphertext })).await["plaintext"], "aGVsbG8=");
    }
}

#[tokio::test]
async fn data_keys_are_as_long_as_asked_and_wrapped() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    for (bits, length) in [(json!(null), 32), (json!(128), 16), (json!(512), 64)] {
        let made = transit.write("datakey/plaintext/a", json!({ "bits": bits })).await;
        let key = unbase64(text(&made, "plaintext"));
        let unwrapped = transit.write("decrypt/a", json!({ "ciphertext": made["ciphertext"] })).await;
        assert_eq!((key.len(), key), (length, unbase64(text(&unwrapped, "plaintext"))));
    }
    assert!(transit.write("datakey/wrapped/a", json!({})).await.get("plaintext").is_none());
}

#[tokio::test]
async fn rsa_encrypts_what_fits() {
    let transit = Transit::open().await;
    transit.write("keys/a", json!({ "type": "rsa-2048" })).await;
    let plaintext = base64(&[9; 190]);
    let encrypted = transit.write("encrypt/a", json!({ "plaintext": plaintext })).await;
    assert_eq!(
        transit.write("decrypt/a", json!({ "ciphertext": encrypted["ciphertext"] })).await["plaintext"],
        plaintext
    );
    let too_long = transit.try_write("encrypt/a", json!({ "plaintext": base64(&[9; 191]) })).await.unwrap_err();
    assert!(too_long.to_string().starts_with("failed to RSA encrypt the plaintext"));
    let damaged = text(&encrypted, "ciphertext").replacen("vault:v1:", "vault:v1:AAAA", 1);
    let damaged = transit.try_write("decrypt/a", json!({ "ciphertext": damaged })).await.unwrap_err();
    assert!(damaged.to_string().starts_with("failed to RSA decrypt the ciphertext"));
}

/// For every type, derived or not, convergent or not, and any version: what comes back is what went in, and only with
/// the same context and the same associated data.
#[test]
fn decrypting_is_the_inverse_of_encrypting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let transit = runtime.block_on(async {
        let transit = Transit::open().await;
        for cipher in CIPHERS {
            for (mode, derived, convergent) in [("plain", false, false), ("derived", true, false), ("same", true, true)]
            {
                let body = json!({ "type": cipher, "derived": derived, "convergent_encryption": convergent });
                transit.write(&format!("keys/{cipher}-{mode}"), body).await;
                for _ in 0..2 {
                    transit.write(&format!("keys/{cipher}-{mode}/rotate"), json!({})).await;
                }
            }
        }
        transit
    });
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let mode = prop_oneof![Just("plain"), Just("derived"), Just("same")];
    let cipher = (0..CIPHERS.len()).prop_map(|position| CIPHERS[position]);
    let context = proptest::collection::vec(any::<u8>(), 1..40);
    let case = (cipher, mode, 1..=3_u32, bytes(), context, bytes());
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) });
    let outcome = runner.run(&case, |(cipher, mode, version, plaintext, context, aad)| {
        runtime.block_on(round_trip(&transit, &format!("{cipher}-{mode}"), version, &plaintext, &context, &aad));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn round_trip(transit: &Transit, name: &str, version: u32, plaintext: &[u8], context: &[u8], aad: &[u8]) {
    let derived = !name.ends_with("plain");
    let context = if derived { base64(context) } else { String::new() };
    let body = json!({
        "plaintext": base64(plaintext), "context": context, "associated_data": base64(aad), "key_version": version,
    });
    let (encrypt, decrypt) = (format!("encrypt/{name}"), format!("decrypt/{name}"));
    let encrypted = transit.write(&encrypt, body.clone()).await;
    let ciphertext = text(&encrypted, "ciphertext");
    let (_, encoded) = ciphertext.split_once(&format!("vault:v{version}:")).unwrap();
    let nonce = if name.starts_with("xchacha") { 24 } else { 12 };
    assert_eq!(unbase64(encoded).len(), nonce + plaintext.len() + 16);
    let again = transit.write(&encrypt, body).await;
    assert_eq!(text(&again, "ciphertext") == ciphertext, name.ends_with("same"));

    let opened = |context: String, aad: Vec<u8>| {
        let body = json!({ "ciphertext": ciphertext, "context": context, "associated_data": base64(&aad) });
        transit.try_write(&decrypt, body)
    };
    let decrypted = opened(context.clone(), aad.to_vec()).await.unwrap().data.unwrap();
    assert_eq!(decrypted["plaintext"], base64(plaintext));
    let refused = "cipher: message authentication failed";
    let wrong = opened(context.clone(), [aad, b"x"].concat()).await.unwrap_err();
    assert_eq!(wrong.to_string(), refused);
    if derived {
        let other = base64(&[&unbase64(&context)[..], b"x"].concat());
        assert_eq!(opened(other, aad.to_vec()).await.unwrap_err().to_string(), refused);
    }
}

#[tokio::test]
async fn every_flipped_bit_is_refused() {
    let transit = Transit::open().await;
    for cipher in CIPHERS {
        for derived in [false, true] {
            let name = format!("{cipher}-{derived}");
            let body = json!({ "type": cipher, "derived": derived, "convergent_encryption": derived });
            transit.write(&format!("keys/{name}"), body).await;
            // As many versions as a flipped bit in the version could name.
            for _ in 0..9 {
                transit.write(&format!("keys/{name}/rotate"), json!({})).await;
            }
            let body =
                json!({ "plaintext": "aGVsbG8=", "context": if derived { "Y29u" } else { "" }, "key_version": 1 });
            let encrypted = transit.write(&format!("encrypt/{name}"), body.clone()).await;
            let ciphertext = text(&encrypted, "ciphertext");
            for bit in 0..ciphertext.len() * 8 {
                let mut flipped = ciphertext.as_bytes().to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(flipped) = String::from_utf8(flipped) else { continue };
                let body = json!({ "ciphertext": flipped, "context": body["context"] });
                transit.refused(&format!("decrypt/{name}"), body).await;
            }
        }
    }
}
