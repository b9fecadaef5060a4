//! `postgresql/v1` with TLS. What else it promises is in the tests that tour it.

use std::path::Path;
use std::process::Command;

use super::{Asked, certificates, text};
use crate::harness::Layer;

#[test]
fn a_client_verifies_a_server_of_its_own() {
    let layer = Layer::shared();
    let asked = Asked {
        name: "encrypted",
        contract: "postgresql/v1",
        plan: "dedicated",
        engine: "postgresql",
        parameters: &[("tls", "true")],
    };
    asked.create(&layer.api());
    let given = &asked.bind(&layer.api(), "app")["credentials"];
    assert!(text(given, "uri").contains("sslmode=verify-full"));
    let psql = |uri: &str, known: &Path| {
        let output =
            Command::new("psql").args(["-X", "-c", r"\conninfo", uri]).env("PGSSLROOTCERT", known).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    };
    let known = certificates(layer, given);
    let connected = psql(text(given, "uri"), &known).unwrap();
    assert!(connected.contains("SSL connection (protocol: TLSv1.3"), "{connected}");
    let unknown = layer.scratch().join("nobody.pem");
    let refused = psql(text(given, "uri"), &unknown).unwrap_err();
    assert!(refused.contains("root certificate file"), "{refused}");
    let plain = psql(&text(given, "uri").replace("sslmode=verify-full", "sslmode=disable"), &known).unwrap_err();
    assert!(plain.contains("no pg_hba.conf entry") || plain.contains("encrypt"), "{plain}");
    asked.delete(layer);
}
