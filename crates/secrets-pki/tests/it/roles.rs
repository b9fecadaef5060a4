//! Roles and what they let through.

use mainstay_secrets_engine::{Operation, Refusal};
use serde_json::json;

use crate::mount::{Files, Pki, text};

#[tokio::test]
async fn roles_are_written_read_patched_listed_and_deleted() {
    let pki = Pki::with_root().await;
    let written = pki.write("roles/b", json!({"name": "b", "max_ttl": "12h", "ou": ["x"]})).await;
    assert_eq!(written, pki.read("roles/b").await);
    assert_eq!((written["max_ttl"].as_u64(), written["key_bits"].as_u64()), (Some(43_200), Some(2048)));
    pki.ask(Operation::Patch, "roles/b", json!({"ttl": "1h"}), vec![]).await.unwrap();
    let patched = pki.read("roles/b").await;
    assert_eq!((patched["ttl"].as_u64(), patched["ou"].clone()), (Some(3600), json!(["x"])));
    assert_eq!(pki.list("roles/").await, ["b", "web"]);
    pki.ask(Operation::Delete, "roles/b", json!({}), vec![]).await.unwrap();
    assert!(matches!(pki.ask(Operation::Read, "roles/b", json!({}), vec![]).await, Err(Refusal::NotFound)));
    assert!(matches!(pki.ask(Operation::Read, "roles/a b", json!({}), vec![]).await, Err(Refusal::UnsupportedPath)));
}

#[tokio::test]
async fn what_a_role_does_not_allow_is_not_certified() {
    let pki = Pki::with_root().await;
    let files = Files::new(&[]);
    files.openssl("genrsa -out rsa.key 2048").unwrap();
    files
        .openssl("req -new -key rsa.key -out evil.csr -subj /CN=evil.org -addext subjectAltName=DNS:evil.org")
        .unwrap();
    files
        .openssl("req -new -key rsa.key -out san.csr -subj /CN=a.example.com -addext subjectAltName=DNS:evil.org")
        .unwrap();
    let csr = |name: &str| std::fs::read_to_string(files.path().join(name)).unwrap();
    pki.write("roles/rsa", json!({"allowed_domains": "example.com", "allow_subdomains": true})).await;
    let table = [
        ("issue/web", json!({"common_name": "evil.org"}), "common name evil.org not allowed by this role"),
        ("issue/none", json!({"common_name": "a.example.com"}), "unknown role: none"),
        ("sign/rsa", json!({"csr": csr("evil.csr")}), "common name evil.org not allowed by this role"),
        ("sign/rsa", json!({"csr": csr("san.csr")}), "subject alternate name evil.org not allowed by this role"),
        ("sign/web", json!({"csr": csr("san.csr")}), "role requires keys of type ec"),
        ("sign/web", json!({"csr": ""}), "\"csr\" is empty"),
        (
            "issue/web",
            json!({"common_name": "a.example.com", "ttl": "87599h"}),
            "cannot satisfy request, as TTL would result",
        ),
    ];
    for (path, fields, expected) in table {
        let refused = pki.try_write(path, fields.clone()).await.unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{path} {fields}: {refused}");
    }
    let empty = Pki::new().await;
    empty.write("roles/web", json!({"allow_any_name": true})).await;
    let refused = empty.try_write("issue/web", json!({"common_name": "a.org"})).await.unwrap_err();
    assert!(matches!(refused, Refusal::Failed { .. }));
    assert_eq!(
        refused.to_string(),
        "could not fetch the CA certificate (was one set?): unable to find PKI issuer for reference: default"
    );
}

#[tokio::test]
async fn a_request_cannot_make_itself_an_authority() {
    let pki = Pki::with_root().await;
    let files = Files::new(&[]);
    files.openssl("ecparam -name prime256v1 -genkey -out ec.key").unwrap();
    files.openssl("req -new -key ec.key -out ca.csr -subj /CN=a.example.com -addext basicConstraints=critical,CA:TRUE -addext subjectAltName=DNS:a.example.com").unwrap();
    let csr = std::fs::read_to_string(files.path().join("ca.csr")).unwrap();
    for path in ["sign/web", "sign-verbatim"] {
        let leaf = pki.write(path, json!({"csr": csr, "ttl": "1h"})).await;
        std::fs::write(files.path().join("leaf.pem"), text(&leaf, "certificate")).unwrap();
        let shown = files.openssl("x509 -in leaf.pem -noout -text").unwrap();
        assert!(!shown.contains("CA:TRUE"), "{path}");
        assert!(!shown.contains("Certificate Sign"), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_not_kept() {
    let pki = Pki::with_root().await;
    pki.write("roles/fleeting", json!({"allow_any_name": true, "key_type": "ec", "no_store": true, "ttl": "1h"})).await;
    let kept = pki.list("certs").await.len();
    pki.write("issue/fleeting", json!({"common_name": "a.example.com"})).await;
    assert_eq!(pki.list("certs").await.len(), kept);
    let leaf = pki.write("issue/web", json!({"common_name": "a.example.com"})).await;
    assert!(pki.list("certs/").await.contains(&text(&leaf, "serial_number").to_owned()));
    let read = pki.read(&format!("cert/{}", text(&leaf, "serial_number"))).await;
    assert_eq!((&read["certificate"], read["revocation_time"].as_i64()), (&leaf["certificate"], Some(0)));
}
