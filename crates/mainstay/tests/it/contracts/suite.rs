//! Runs the cases of one contract with its Python client.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use super::Asked;
use crate::harness::{Api, Layer};

/// Runs them on these instances, which both of two tenants get, with one more of the first that comes by TLS.
pub fn run(layer: &Layer, mut python: Command, folder: &str, targets: &[Asked], encrypted: &[Asked]) {
    let made = layer.cli(&["token", "create", "--tenant", "rival", "--role", "admin", "-o", "json"]).json();
    let (own, rival) = (layer.api(), layer.api().with_token(made["token"].as_str().unwrap()));
    let told = |asked: &[Asked], api: &Api| asked.iter().map(|asked| target(*asked, api)).collect::<Vec<_>>();
    let command = layer.command();
    let environment: Map<_, _> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), json!(value?.to_str()?))))
        .collect();
    let world = json!({
        "contract": targets[0].contract,
        "program": command.get_program().to_str(),
        "environment": environment,
        "scratch": layer.scratch(),
        "targets": told(targets, &own),
        "rivals": told(targets, &rival),
        "encrypted": told(encrypted, &own),
    });

    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/run.py");
    python.args([cases.as_os_str(), folder.as_ref()]);
    // A single area, or a single case, while one of them is worked at.
    python.args(std::env::var("MAINSTAY_CONTRACT_CASES").iter().flat_map(|wanted| wanted.split(' ')));
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = python.spawn().unwrap();
    running.stdin.take().unwrap().write_all(world.to_string().as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{folder}: {}", printed.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{printed}{errors}");
    assert!(!layer.log().contains("panicked"), "{}", layer.log());
}

/// An instance with a binding, as the cases want to have it told.
fn target(asked: Asked, api: &Api) -> Value {
    asked.create(api);
    json!({
        "instance": asked.name, "plan": asked.plan, "engine": asked.engine, "parameters": asked.parameters(),
        "credentials": asked.bind(api, "cases")["credentials"],
    })
}
