//! Everything is lost: the data directory with all engines' data. Stock clients read it back with the credentials of before.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{arguments, backed_up, key_file, lose, protected};
use crate::harness::{Layer, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// What is made of each contract. The plans differ, so that shared and dedicated clusters are both among them.
const INSTANCES: [(&str, &str, &str); 7] = [
    ("shop", "postgresql/v1", "shared"),
    ("ledger", "postgresql/v1", "dedicated"),
    ("cache", "redis/v1", "dedicated"),
    ("sessions", "redis/v1", "shared"),
    ("pictures", "s3/v1", "shared"),
    ("events", "nats/v1", "shared"),
    ("jobs", "amqp/v1", "shared"),
];

#[test]
fn a_layer_that_is_gone_comes_back_for_every_client() {
    let mut layer = protected();
    let mut bindings = Map::new();
    for (name, contract, plan) in INSTANCES {
        let set =
            if contract == "redis/v1" && plan == "dedicated" { vec!["--set", "persistence=durable"] } else { vec![] };
        let made = layer.cli(&[&["create", contract, name, "--plan", plan][..], &set].concat());
        assert_eq!(made.code, 0, "{made:?}");
        bindings.insert(name.to_owned(), layer.bind(name, "web")["credentials"].clone());
    }
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    let world = json!({ "bindings": bindings });
    python("fill", &world);
    python("check", &world);
    for (name, ..) in INSTANCES {
        let backed_up = layer.cli(&["backup", name]);
        assert_eq!(backed_up.code, 0, "{name}: {backed_up:?}");
    }
    let proven = layer.cli(&["drill", "--all"]);
    assert_eq!(proven.code, 0, "{proven:?}");
    for instance in layer.api().all("/api/v1/instances") {
        assert_eq!(instance["recovery"]["state"], "proven", "{instance}");
    }
    let key = key_file(&layer);
    backed_up(&layer);
    layer.stop();
    lose(&layer);

    let (repository, data) = (layer.repository(), layer.data_dir());
    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    ready(&layer);
    python("check", &world);
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    assert_eq!(layer.cli(&["journal", "verify"]).code, 0);
    let proven = layer.cli(&["drill", "shop"]);
    assert_eq!(proven.code, 0, "{proven:?}");
}

fn ready(layer: &Layer) {
    until("every instance is ready", PATIENCE, || {
        let instances = layer.api().all("/api/v1/instances");
        instances.iter().all(|instance: &Value| instance["state"] == "ready").then_some(())
    });
}

/// Runs the clients on what `world` says.
pub(super) fn python(what: &str, world: &Value) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recovery/clients.py");
    let interpreter = std::env::var_os("MAINSTAY_TEST_PYTHON").expect("run the tests with: make test");
    let mut command = Command::new(interpreter);
    command.arg(clients).arg(what).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(world.to_string().as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}
