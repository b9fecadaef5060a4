//! Revocation, its lists, OCSP, tidying.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::json;

use crate::mount::{Files, Pki, text};

async fn with_leaves() -> (Pki, Files, [String; 2]) {
    let pki = Pki::with_root().await;
    let good = pki.write("issue/web", json!({"common_name": "good.example.com"})).await;
    let bad = pki.write("issue/web", json!({"common_name": "bad.example.com"})).await;
    let files = Files::new(&[
        ("root.pem", text(&good, "issuing_ca").as_bytes()),
        ("good.pem", text(&good, "certificate").as_bytes()),
        ("bad.pem", text(&bad, "certificate").as_bytes()),
    ]);
    let serials = [&good, &bad].map(|leaf| text(leaf, "serial_number").to_owned());
    (pki, files, serials)
}

#[tokio::test]
async fn a_revoked_certificate_is_on_the_list_that_openssl_checks() {
    let (pki, files, [good, bad]) = with_leaves().await;
    let revoked = pki.write("revoke", json!({"serial_number": bad.to_uppercase()})).await;
    assert_eq!(text(&revoked, "state"), "revoked");
    assert_eq!(revoked, pki.write("revoke", json!({"serial_number": bad.replace(':', "-")})).await);
    assert_eq!(pki.list("certs/revoked").await, std::slice::from_ref(&bad));
    assert_eq!(pki.read(&format!("cert/{bad}")).await["revocation_time"], revoked["revocation_time"]);

    let (kind, list) = pki.raw("crl/pem").await.unwrap();
    assert_eq!(kind, "application/x-pem-file");
    std::fs::write(files.path().join("crl.pem"), &list).unwrap();
    files.openssl("crl -in crl.pem -CAfile root.pem -noout").unwrap();
    files.openssl("verify -crl_check -CRLfile crl.pem -CAfile root.pem good.pem").unwrap();
    let refused = files.openssl("verify -crl_check -CRLfile crl.pem -CAfile root.pem bad.pem").unwrap_err();
    assert!(refused.contains("certificate revoked"), "{refused}");
    assert_eq!(pki.raw("crl").await.unwrap().0, "application/pkix-crl");
    assert_eq!(pki.raw("crl").await, pki.raw("issuer/default/crl/der").await);

    let number = files.openssl("crl -in crl.pem -noout -crlnumber").unwrap();
    pki.read("crl/rotate").await;
    std::fs::write(files.path().join("crl.pem"), pki.raw("crl/pem").await.unwrap().1).unwrap();
    assert_ne!(number, files.openssl("crl -in crl.pem -noout -crlnumber").unwrap());

    // What is revoked stays so over a restart, and numbers rise on.
    let restarted = Pki::over(pki.storage.clone()).await;
    std::fs::write(files.path().join("crl.pem"), restarted.raw("crl/pem").await.unwrap().1).unwrap();
    assert!(files.openssl("verify -crl_check -CRLfile crl.pem -CAfile root.pem bad.pem").is_err());
    restarted.write("config/crl", json!({"disable": true})).await;
    std::fs::write(files.path().join("crl.pem"), restarted.raw("crl/pem").await.unwrap().1).unwrap();
    assert!(files.openssl("crl -in crl.pem -noout -text").unwrap().contains("No Revoked Certificates"));

    let unknown = pki.try_write("revoke", json!({"serial_number": "00:11"})).await.unwrap_err();
    assert_eq!(unknown.to_string(), "certificate with serial 00:11 not found.");
    assert!(pki.try_write("revoke", json!({})).await.is_err());
    let root = pki.list("certs").await.into_iter().find(|serial| ![&good, &bad].contains(&serial)).unwrap();
    assert!(pki.try_write("revoke", json!({"serial_number": root})).await.unwrap_err().to_string().contains("own CRL"));
}

#[tokio::test]
async fn openssl_asks_and_believes() {
    let (pki, files, [_, bad]) = with_leaves().await;
    pki.write("revoke", json!({"serial_number": bad})).await;
    for (hash, nonce) in [("sha1", ""), ("sha256", " -no_nonce")] {
        for (name, expected) in [("good", "Cert Status: good"), ("bad", "Cert Status: revoked")] {
            let ask = format!("ocsp -{hash} -issuer root.pem -cert {name}.pem{nonce} -reqout question.der");
            files.openssl(&ask).unwrap();
            let question = std::fs::read(files.path().join("question.der")).unwrap();
            let posted = pki.ask(Operation::Update, "ocsp", json!({}), question.clone()).await.unwrap().raw.unwrap();
            let got = pki.raw(&format!("ocsp/{}", STANDARD.encode(&question))).await.unwrap();
            assert_eq!((posted.content_type, got.0), ("application/ocsp-response", "application/ocsp-response"));
            for answer in [posted.body, got.1] {
                std::fs::write(files.path().join("answer.der"), &answer).unwrap();
                let check = "ocsp -issuer root.pem -CAfile root.pem -reqin question.der -respin answer.der -resp_text";
                let said = files.openssl(check).unwrap();
                assert!(said.contains("Response verify OK") && said.contains(expected), "{hash} {name}: {said}");
                assert!(!said.contains("no nonce in response"), "{said}");
            }
        }
    }
    let malformed = [vec![], vec![0x30, 0x00], vec![0xff; 3000]];
    for question in malformed {
        let answer = pki.ask(Operation::Update, "ocsp", json!({}), question).await.unwrap();
        assert_eq!(answer.raw.unwrap().body, [0x30, 0x03, 0x0a, 0x01, 0x01]);
    }
    pki.write("config/crl", json!({"ocsp_disable": true})).await;
    let question = std::fs::read(files.path().join("question.der")).unwrap();
    let refused = pki.ask(Operation::Update, "ocsp", json!({}), question).await.unwrap();
    assert_eq!(refused.raw.unwrap().body, [0x30, 0x03, 0x0a, 0x01, 0x06]);
}

#[tokio::test]
async fn a_lease_that_ends_revokes_its_certificate() {
    let pki = Pki::with_root().await;
    pki.write("roles/leased", json!({"allow_any_name": true, "key_type": "ec", "generate_lease": true, "ttl": "1h"}))
        .await;
    let answer = pki.try_write("issue/leased", json!({"common_name": "a.example.com"})).await.unwrap();
    let lease = answer.lease.unwrap();
    assert!(lease.ttl_seconds <= 3600 && lease.ttl_seconds > 3590 && !lease.renewable);
    let serial = text(&answer.data.unwrap(), "serial_number").to_owned();
    for _ in 0..2 {
        pki.backend.revoke(&lease.internal, pki.now).await.unwrap();
    }
    assert_eq!(pki.list("certs/revoked").await, [serial]);
    pki.backend.revoke(&json!({"serial_number": "00:11"}), pki.now).await.unwrap();
}

#[tokio::test]
async fn whoever_has_the_key_may_revoke_what_was_never_kept() {
    let pki = Pki::with_root().await;
    pki.write("roles/fleeting", json!({"allow_any_name": true, "key_type": "ec", "no_store": true, "ttl": "1h"})).await;
    let leaf = pki.write("issue/fleeting", json!({"common_name": "a.example.com"})).await;
    let other = pki.write("issue/fleeting", json!({"common_name": "a.example.com"})).await;
    let asked = json!({"certificate": leaf["certificate"], "private_key": other["private_key"]});
    assert!(pki.try_write("revoke-with-key", asked).await.is_err());
    let asked = json!({"certificate": leaf["certificate"], "private_key": leaf["private_key"]});
    assert_eq!(text(&pki.write("revoke-with-key", asked).await, "state"), "revoked");
    let stranger = Pki::with_root().await.write("issue/web", json!({"common_name": "a.example.com"})).await;
    let refused = pki.try_write("revoke", json!({"certificate": stranger["certificate"]})).await.unwrap_err();
    assert!(refused.to_string().starts_with("unable to verify signature on presented cert"));
}

#[tokio::test]
async fn tidying_removes_what_ended_and_nothing_else() {
    let (mut pki, _files, [_, bad]) = with_leaves().await;
    pki.write("revoke", json!({"serial_number": bad})).await;
    pki.now = pki.now.plus_seconds(10 * 3600);
    let young = pki.write("issue/web", json!({"common_name": "young.example.com"})).await;
    let asked = json!({"tidy_cert_store": true, "tidy_revoked_certs": true, "safety_buffer": "1h"});
    let started = pki.try_write("tidy", asked).await.unwrap();
    assert_eq!(started.status, Some(202));
    let deadline = Instant::now() + Duration::from_secs(30);
    while pki.read("tidy-status").await["state"] != "Inactive" {
        assert!(Instant::now() < deadline, "tidying never ends");
        tokio::task::yield_now().await;
    }
    let left = pki.list("certs").await;
    assert!(left.len() == 2 && left.contains(&text(&young, "serial_number").to_owned()), "{left:?}");
    assert!(pki.list("certs/revoked").await.is_empty());
    assert!(pki.try_write("config/auto-tidy", json!({"enabled": true})).await.is_err());
}

#[tokio::test]
async fn an_ended_certificate_is_not_put_on_a_list() {
    let (mut pki, _files, [good, _]) = with_leaves().await;
    pki.now = pki.now.plus_seconds(2 * 3600);
    let answer = pki.try_write("revoke", json!({"serial_number": good})).await.unwrap();
    assert!(answer.warnings[0].contains("already expired"));
    assert!(pki.list("certs/revoked").await.is_empty());
    let other = pki.ask(Operation::Read, "nonsense", json!({}), vec![]).await;
    assert!(matches!(other, Err(Refusal::UnsupportedPath)));
    let other = pki.ask(Operation::Delete, "ca", json!({}), vec![]).await;
    assert!(matches!(other, Err(Refusal::UnsupportedOperation)));
}
