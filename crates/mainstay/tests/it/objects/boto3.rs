//! boto3 asks everything that it can: the cases are in `tests/s3`.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::Bound;
use super::stock::python;
use crate::harness::{Api, Layer, Options};

#[test]
fn every_case_of_boto3() {
    let Some(mut python) = python() else { return };
    let layer = Layer::start(Options::default());
    let made = layer.cli(&["token", "create", "--tenant", "rival", "--role", "admin", "-o", "json"]).json();
    let (own, rival) = (layer.api(), layer.api().with_token(made["token"].as_str().unwrap()));
    let main = account(&own, "main", json!({ "buckets": "1000" }));
    let world = json!({
        "endpoint": main["endpoint"],
        "region": main["region"],
        "api": layer.address(),
        "token": std::fs::read_to_string(layer.data_dir().join("admin.token")).unwrap().trim(),
        "accounts": {
            "main": main,
            "other": account(&rival, "other", json!({ "buckets": "1000" })),
            "small": account(&own, "small", json!({ "max_bytes": "65536", "max_objects": "5" })),
        },
    });

    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/run.py");
    python.arg(cases).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A single area, or a single case, while one of them is worked at.
    python.args(std::env::var("MAINSTAY_S3_CASES").iter().flat_map(|wanted| wanted.split(' ')));
    let mut running = python.spawn().unwrap();
    running.stdin.take().unwrap().write_all(world.to_string().as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("boto3: {}", printed.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{printed}{errors}");
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

/// An instance of a tenant with a binding, as the cases want to have it told.
fn account(api: &Api, name: &str, parameters: Value) -> Value {
    let wanted = json!({ "name": name, "contract": "s3/v1", "parameters": parameters });
    let operation = api.post("/api/v1/instances?wait=60s", &wanted).expect(200);
    assert_eq!(operation["state"], "succeeded", "{operation}");
    let instance = api.get(&format!("/api/v1/instances/{name}")).expect(200);
    let answer = api.post(&format!("/api/v1/instances/{name}/bindings?wait=60s"), &json!({ "consumer": "boto3" }));
    let bound = Bound::of(&answer.expect(201));
    json!({
        "instance": instance["id"], "bucket": bound.bucket, "endpoint": bound.endpoint, "region": bound.region,
        "access_key": bound.access_key, "secret_key": bound.secret_key,
    })
}
