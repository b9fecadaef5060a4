//! Roots, intermediates, imports.

use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::json;

use crate::mount::{Files, Pki, text};

#[tokio::test]
async fn every_kind_of_key_makes_a_root_and_leaves_that_openssl_verifies() {
    for (key_type, key_bits) in [("rsa", 2048), ("ec", 256), ("ec", 384), ("ec", 521), ("ed25519", 0)] {
        let pki = Pki::new().await;
        let asked =
            json!({"common_name": "Root", "key_type": key_type, "key_bits": key_bits, "ou": "a,b", "ttl": "8760h"});
        let root = pki.write("root/generate/exported", asked).await;
        assert_eq!(text(&root, "private_key_type"), key_type);
        let role = json!({"allow_any_name": true, "key_type": key_type, "key_bits": key_bits});
        pki.write("roles/any", role).await;
        let asked = json!({
            "common_name": "www.example.com", "alt_names": "*.example.com,me@example.com", "ip_sans": "127.0.0.1,::1",
        });
        let leaf = pki.write("issue/any", asked).await;
        let files = Files::new(&[
            ("root.pem", text(&root, "certificate").as_bytes()),
            ("root.key", text(&root, "private_key").as_bytes()),
            ("leaf.pem", text(&leaf, "certificate").as_bytes()),
            ("leaf.key", text(&leaf, "private_key").as_bytes()),
        ]);
        files.openssl("verify -x509_strict -CAfile root.pem -purpose sslserver leaf.pem").unwrap();
        files.openssl("verify -x509_strict -CAfile root.pem -verify_hostname a.example.com leaf.pem").unwrap();
        files.openssl("verify -CAfile root.pem -verify_ip 127.0.0.1 leaf.pem").unwrap();
        assert!(files.openssl("verify -CAfile root.pem -verify_hostname evil.org leaf.pem").is_err());
        for name in ["root", "leaf"] {
            let of_key = files.openssl(&format!("pkey -in {name}.key -pubout")).unwrap();
            let of_certificate = files.openssl(&format!("x509 -in {name}.pem -noout -pubkey")).unwrap();
            assert_eq!(of_key, of_certificate, "{key_type} {key_bits} {name}");
        }
        let subject = files.openssl("x509 -in root.pem -noout -subject").unwrap();
        assert!(subject.contains("OU = a + OU = b, CN = Root"), "{subject}");
        let shown = files.openssl("x509 -in leaf.pem -noout -serial").unwrap();
        let serial = text(&leaf, "serial_number").replace(':', "").to_uppercase();
        assert_eq!(shown.trim(), format!("serial={serial}"));
    }
}

#[tokio::test]
async fn an_intermediate_is_asked_for_signed_and_used() {
    let root = Pki::with_root().await;
    let below = Pki::new().await;
    let asked = json!({"common_name": "Intermediate", "key_type": "ec"});
    let csr = below.write("intermediate/generate/internal", asked).await;
    assert!(csr.get("private_key").is_none());
    let asked = json!({"csr": csr["csr"], "common_name": "Intermediate", "max_path_length": 0, "ttl": "4380h",
        "permitted_dns_domains": "example.com"});
    let signed = root.write("root/sign-intermediate", asked).await;
    assert_eq!(signed["ca_chain"].as_array().unwrap().len(), 2);
    let bundle = format!("{}\n{}", text(&signed, "certificate"), text(&signed, "issuing_ca"));
    let set = below.write("intermediate/set-signed", json!({"certificate": bundle})).await;
    assert_eq!(set["imported_issuers"].as_array().unwrap().len(), 2);
    below.write("roles/web", json!({"allow_any_name": true, "key_type": "ed25519", "ttl": "1h"})).await;
    let leaf = below.write("issue/web", json!({"common_name": "www.example.com"})).await;
    let stranger = below.write("issue/web", json!({"common_name": "www.evil.org"})).await;
    assert_eq!(leaf["ca_chain"].as_array().unwrap().len(), 2);
    let filtered = json!({"common_name": "www.example.com", "remove_roots_from_chain": true});
    assert_eq!(below.write("issue/web", filtered).await["ca_chain"].as_array().unwrap().len(), 1);
    let files = Files::new(&[
        ("root.pem", text(&signed, "issuing_ca").as_bytes()),
        ("int.pem", text(&signed, "certificate").as_bytes()),
        ("leaf.pem", text(&leaf, "certificate").as_bytes()),
        ("stranger.pem", text(&stranger, "certificate").as_bytes()),
    ]);
    files.openssl("verify -x509_strict -CAfile root.pem -untrusted int.pem leaf.pem").unwrap();
    let refused = files.openssl("verify -CAfile root.pem -untrusted int.pem stranger.pem").unwrap_err();
    assert!(refused.contains("permitted subtree violation"), "{refused}");

    let third = Pki::new().await;
    let csr = third.write("intermediate/generate/internal", json!({"common_name": "Third", "key_type": "ec"})).await;
    let refused = below.try_write("root/sign-intermediate", json!({"csr": csr["csr"], "common_name": "Third"})).await;
    assert!(refused.unwrap_err().to_string().contains("max path length of zero"));
    let chain = String::from_utf8(below.raw("ca_chain").await.unwrap().1).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
}

#[tokio::test]
async fn a_bundle_of_openssl_s_is_imported_once_and_signs() {
    let files = Files::new(&[]);
    files
        .openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /O=Old/CN=Elder -days 30")
        .unwrap();
    files.openssl("ecparam -name prime256v1 -genkey -out ec.key").unwrap();
    files
        .openssl(
            "req -new -key ec.key -out leaf.csr -subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com",
        )
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(files.path().join(name)).unwrap();
    let pki = Pki::new().await;
    let bundle = json!({"pem_bundle": format!("{}{}", read("ca.key"), read("ca.pem"))});
    let imported = pki.write("config/ca", bundle.clone()).await;
    assert_eq!(imported["imported_issuers"].as_array().unwrap().len(), 1);
    assert_eq!(imported["mapping"].as_object().unwrap().values().next().unwrap(), &imported["imported_keys"][0]);
    let again = pki.write("config/ca", bundle).await;
    assert!(again["imported_issuers"].is_null() && again["existing_issuers"].as_array().unwrap().len() == 1);

    pki.write(
        "roles/web",
        json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "any", "ttl": "1h"}),
    )
    .await;
    let signed = pki.write("sign/web", json!({"csr": read("leaf.csr")})).await;
    std::fs::write(files.path().join("leaf.pem"), text(&signed, "certificate")).unwrap();
    files.openssl("verify -CAfile ca.pem -verify_hostname www.example.com leaf.pem").unwrap();
    let verbatim = pki.write("sign-verbatim", json!({"csr": read("leaf.csr"), "ttl": "1h"})).await;
    std::fs::write(files.path().join("verbatim.pem"), text(&verbatim, "certificate")).unwrap();
    files.openssl("verify -CAfile ca.pem -verify_hostname www.example.com verbatim.pem").unwrap();
    assert!(verbatim.get("private_key").is_none());

    let tampered = read("leaf.csr").replacen("MII", "MIJ", 1);
    assert!(pki.try_write("sign/web", json!({"csr": tampered})).await.is_err());
    let leaf = pki.try_write("config/ca", json!({"pem_bundle": text(&signed, "certificate")})).await;
    assert!(leaf.unwrap_err().to_string().contains("non-CA"));
}

#[tokio::test]
async fn another_root_is_signed_once_more() {
    let files = Files::new(&[]);
    files.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out old.pem -subj /CN=Old -days 30").unwrap();
    let old = std::fs::read_to_string(files.path().join("old.pem")).unwrap();
    let pki = Pki::with_root().await;
    let signed = pki.write("root/sign-self-issued", json!({"certificate": old})).await;
    std::fs::write(files.path().join("crossed.pem"), text(&signed, "certificate")).unwrap();
    std::fs::write(files.path().join("root.pem"), text(&signed, "issuing_ca")).unwrap();
    files.openssl("verify -CAfile root.pem crossed.pem").unwrap();
}

#[tokio::test]
async fn issuers_are_named_shown_chosen_and_deleted() {
    let pki = Pki::with_root().await;
    let ids = pki.list("issuers/").await;
    let before = pki.read(&format!("issuer/{}", ids[0])).await;
    assert_eq!((text(&before, "issuer_name"), before["revoked"].as_bool()), ("root", Some(false)));
    let after = pki.write(&format!("issuer/{}", ids[0]), json!({})).await;
    assert_eq!(after["usage"], before["usage"]);
    pki.write("issuer/default", json!({"issuer_name": "new_issuer_name"})).await;
    assert_eq!(text(&pki.read("issuer/new_issuer_name").await, "issuer_id"), ids[0]);
    for name in ["default", "a b", "../x", &ids[0]] {
        assert!(pki.try_write("issuer/default", json!({"issuer_name": name})).await.is_err(), "{name}");
    }
    for (form, kind) in [("pem", "application/pem-certificate-chain"), ("der", "application/pkix-cert")] {
        assert_eq!(pki.raw(&format!("issuer/default/{form}")).await.unwrap().0, kind);
    }
    pki.write("root/generate/internal", json!({"common_name": "Second", "key_type": "ec", "issuer_name": "next"}))
        .await;
    assert_eq!(text(&pki.read("config/issuers").await, "default"), ids[0]);
    pki.write("root/replace", json!({})).await;
    assert_ne!(text(&pki.read("config/issuers").await, "default"), ids[0]);

    let revoked = pki.write(&format!("issuer/{}/revoke", ids[0]), json!({})).await;
    assert_eq!(revoked["revoked"], true);
    assert!(
        pki.try_write(&format!("issuer/{}/issue/web", ids[0]), json!({"common_name": "a.example.com"})).await.is_err()
    );
    pki.ask(Operation::Delete, &format!("issuer/{}", ids[0]), json!({}), vec![]).await.unwrap();
    let gone = pki.ask(Operation::Read, &format!("issuer/{}", ids[0]), json!({}), vec![]).await;
    assert!(matches!(gone, Err(Refusal::Failed { source: None, .. })));
    pki.ask(Operation::Delete, "root", json!({}), vec![]).await.unwrap();
    assert!(pki.list("issuers").await.is_empty() && pki.list("keys").await.is_empty());
    assert!(pki.raw("ca/pem").await.is_none() && pki.raw("crl").await.is_none());
}

#[tokio::test]
async fn formats_are_as_asked_for() {
    let pki = Pki::with_root().await;
    for (format, key_format, start) in [
        ("pem", "der", "-----BEGIN CERTIFICATE-----"),
        ("pem_bundle", "der", "-----BEGIN EC PRIVATE KEY-----"),
        ("pem_bundle", "pkcs8", "-----BEGIN PRIVATE KEY-----"),
        ("der", "der", "MII"),
    ] {
        let asked = json!({"common_name": "a.example.com", "format": format, "private_key_format": key_format});
        let leaf = pki.write("issue/web", asked).await;
        assert!(text(&leaf, "certificate").starts_with(start), "{format} {key_format}");
    }
    assert!(pki.try_write("issue/web", json!({"common_name": "a.example.com", "format": "p12"})).await.is_err());
    let urls = json!({"issuing_certificates": "http://127.0.0.1/ca", "crl_distribution_points": ["http://127.0.0.1/crl"],
        "ocsp_servers": "http://127.0.0.1/ocsp"});
    pki.write("config/urls", urls).await;
    assert_eq!(pki.read("config/urls").await["ocsp_servers"], json!(["http://127.0.0.1/ocsp"]));
    assert!(pki.try_write("config/urls", json!({"ocsp_servers": "no url"})).await.is_err());
    let leaf = pki.write("issue/web", json!({"common_name": "a.example.com"})).await;
    let files = Files::new(&[("leaf.pem", text(&leaf, "certificate").as_bytes())]);
    let shown = files.openssl("x509 -in leaf.pem -noout -text").unwrap();
    for part in ["OCSP - URI:http://127.0.0.1/ocsp", "CA Issuers - URI:http://127.0.0.1/ca", "URI:http://127.0.0.1/crl"]
    {
        assert!(shown.contains(part), "{part}");
    }
}

#[tokio::test]
async fn the_hash_is_the_one_that_the_role_says() {
    let pki = Pki::new().await;
    pki.write("root/generate/internal", json!({"common_name": "Root", "signature_bits": 384})).await;
    pki.write("roles/any", json!({"allow_any_name": true, "key_type": "ec", "signature_bits": 512, "ttl": "1h"})).await;
    let leaf = pki.write("issue/any", json!({"common_name": "a.example.com"})).await;
    let files = Files::new(&[
        ("root.pem", text(&leaf, "issuing_ca").as_bytes()),
        ("leaf.pem", text(&leaf, "certificate").as_bytes()),
        ("crl.pem", &pki.raw("crl/pem").await.unwrap().1),
    ]);
    for (ask, hash) in [("x509 -in root.pem", "sha384"), ("x509 -in leaf.pem", "sha512"), ("crl -in crl.pem", "sha384")]
    {
        let shown = files.openssl(&format!("{ask} -noout -text")).unwrap();
        assert!(shown.contains(&format!("{hash}WithRSAEncryption")), "{ask}");
    }
}
