//! Layers whose state or whose key is not in the data directory.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use mainstay_storage::scratch::ScratchPostgres;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{arguments, backed_up, key_file, lose, standing};
use crate::harness::{Layer, Options, Vault, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_layer_whose_state_is_in_postgresql_comes_back_into_an_empty_database() {
    let server = ScratchPostgres::start();
    let new = || server.new_database().expose_secret().to_owned();
    let environment = vec![("Storage__Driver", "postgres".to_owned()), ("ConnectionStrings__Default", new())];
    let mut layer = Layer::start(Options { environment, repository: true, ..Options::default() });
    let uri = filled(&layer);
    let key = key_file(&layer);
    backed_up(&layer);
    let events = layer.events();
    let (repository, data) = (layer.repository(), layer.data_dir());
    layer.stop();
    lose(&layer);

    // The database is whole, and perhaps newer than any backup: it is not touched.
    let refused = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("events already") && refused.stderr.contains("ConnectionStrings__Default"),
        "{refused:?}"
    );
    let refused = layer.cli(&arguments(&repository, &data, &key));
    assert!(refused.code == 1 && refused.stderr.contains("events already"), "nor by a second try: {refused:?}");

    layer.set("ConnectionStrings__Default", &new());
    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    assert_eq!(layer.events()[..events.len()], events[..]);
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    let kept = until("it serves", PATIENCE, || layer.try_psql(&uri, "SELECT answer FROM kept").ok());
    assert_eq!(kept, "42");
    assert!(!data.join("storage").exists(), "nothing of the state is on disk");
}

#[test]
fn a_layer_whose_key_is_in_shares_comes_back_sealed_and_opens_with_them() {
    let environment = vec![("Custody__Seal", "shamir".to_owned())];
    let mut layer = Layer::new(Options { environment, repository: true, ..Options::default() });
    layer.restart_in_trouble();
    let nobody = Vault::of(&layer).with_token("");
    let made = nobody.put("sys/init", &json!({ "secret_shares": 5, "secret_threshold": 3 })).expect(200);
    let shares: Vec<&str> = made["keys"].as_array().unwrap().iter().map(|share| share.as_str().unwrap()).collect();
    unseal(&layer, &shares[..3]);
    until("the repository is open", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    let uri = filled(&layer);
    let key = key_file(&layer);
    backed_up(&layer);
    layer.stop();
    lose(&layer);

    let recovered = layer.cli(&arguments(&layer.repository(), &layer.data_dir(), &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart_in_trouble();
    // Databases serve with their old passwords before anybody has brought a share.
    let kept = until("it serves", PATIENCE, || layer.try_psql(&uri, "SELECT answer FROM kept").ok());
    assert_eq!(kept, "42");
    assert_eq!(Vault::of(&layer).with_token("").get("sys/health").status, 503);
    unseal(&layer, &shares[2..]);
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    // It is the layer of that repository again.
    until("the repository is open", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    layer.cli(&["backup", "shop"]).succeed();
    backed_up(&layer);
}

/// A secret, and a database that is in a backup; gives its URI.
fn filled(layer: &Layer) -> String {
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 42 AS answer");
    layer.cli(&["backup", "shop"]).succeed();
    uri
}

fn unseal(layer: &Layer, shares: &[&str]) {
    let mut command = layer.command();
    command.args(["custody", "unseal"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(shares.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
