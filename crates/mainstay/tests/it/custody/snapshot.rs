//! Snapshots and the key file, from the command line: what is restored opens with the old seal alone, what is damaged is
//! refused, and a rotation of the master key may be cut off anywhere.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use ureq::http::Method;

use super::Shared;
use super::recorded_calls::pki;
use crate::harness::{Chance, Layer, Options, Vault, until, with_seeds};

const PATIENCE: Duration = Duration::from_secs(30);
/// About as long as a rotation takes, in microseconds.
const ROTATION: u64 = 30_000;

#[test]
fn a_snapshot_opens_on_another_machine_with_the_old_shares() {
    let shared = Shared::start();
    let root = shared.root();
    root.post("secret/data/app", &json!({ "data": { "password": "kept" } })).expect(200);
    let policy = r#"path "secret/data/app" { capabilities = ["read"] }"#;
    root.post("sys/policies/acl/reader", &json!({ "policy": policy })).expect(204);
    let reader = root.token(&json!({ "policies": ["reader"] }));
    let issue = pki(&root);
    let issued = root.post(&issue, &json!({ "common_name": "a.example.com" })).expect(200);
    let lease = json!({ "lease_id": issued["lease_id"] });
    let file = shared.layer.scratch().join("custody.snapshot");
    let name = file.to_str().unwrap();
    // One from before is replaced, whatever its mode was.
    fs::write(&file, "an older one").unwrap();
    shared.layer.cli(&["custody", "snapshot", name]).succeed();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = shared.layer.cli(&["custody", "rotate", "--master-key"]).fail(1);
    assert!(refused.contains("rekey instead"), "{refused}");

    let environment = vec![("Custody__Seal", "shamir".to_owned())];
    let mut other = Layer::new(Options { environment, ..Options::default() });
    other.restart_in_trouble();
    let empty = other.cli(&["custody", "snapshot", other.scratch().join("none").to_str().unwrap()]).fail(1);
    assert!(empty.contains("not initialised") && !other.scratch().join("none").exists(), "{empty}");
    let whole = fs::read(&file).unwrap();
    let bad = other.scratch().join("bad.snapshot");
    for (what, bytes) in [
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("cut to half", whole[..whole.len() / 2].to_vec()),
        ("flipped", flipped(&whole, whole.len() / 2)),
        ("flipped at the end", flipped(&whole, whole.len() - 1)),
        ("none", b"#!/bin/sh\n".to_vec()),
    ] {
        fs::write(&bad, bytes).unwrap();
        let refused = other.cli(&["custody", "restore", bad.to_str().unwrap(), "--force"]).fail(1);
        assert!(refused.contains("snapshot") && refused.contains("remedy"), "{what}: {refused}");
        let status = other.cli(&["custody", "status", "-o", "json"]);
        assert!(status.code == 1 && status.stdout.contains(r#""initialized": false"#), "{what}: {status:?}");
    }

    // From standard input, as from a pipe that decrypts or fetches it.
    let mut restore = other.command();
    restore.args(["custody", "restore", "-"]).stdin(fs::File::open(&file).unwrap());
    let restored = restore.output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let theirs = Vault::of(&other).with_token("");
    assert_eq!(theirs.get("sys/health").status, 503);
    let mut wrong: Vec<&str> = shared.keys.iter().take(3).map(String::as_str).collect();
    let forged = wrong[0].replace(|digit: char| digit.is_ascii_digit(), "a");
    wrong[0] = &forged;
    let (code, said) = unseal(&other, &wrong);
    assert!(code == 1 && said.contains("invalid key"), "{said}");
    assert_eq!(theirs.get("sys/health").status, 503);
    let right: Vec<&str> = shared.keys.iter().skip(2).map(String::as_str).collect();
    let (code, said) = unseal(&other, &right);
    assert!(code == 0 && said.contains("open"), "{said}");

    let old_root = theirs.with_token(&shared.root);
    let read = old_root.get("secret/data/app").expect(200);
    assert_eq!(read["data"]["data"]["password"], "kept");
    assert_eq!(old_root.get("sys/policies/acl/reader").expect(200)["data"]["policy"], policy);
    theirs.with_token(&reader).get("secret/data/app").expect(200);
    theirs.with_token(&reader).get("sys/mounts").expect(403);
    old_root.put("sys/leases/lookup", &lease).expect(200);
    old_root.put("sys/leases/revoke", &lease).expect(204);
    assert_eq!(other.events_of("v1.custody.restored").len(), 1);

    // What is in use is not replaced by accident.
    let refused = other.cli(&["custody", "restore", name]).fail(1);
    assert!(refused.contains("not empty") && refused.contains("force"), "{refused}");
    old_root.get("secret/data/app").expect(200);
}

#[test]
fn a_snapshot_opens_with_the_old_key_file() {
    let first = Layer::start(Options::default());
    Vault::of(&first).post("secret/data/app", &json!({ "data": { "password": "kept" } })).expect(200);
    let file = first.scratch().join("custody.snapshot");
    first.cli(&["custody", "snapshot", file.to_str().unwrap()]).succeed();

    let mut other = Layer::start(Options::default());
    other.cli(&["custody", "restore", file.to_str().unwrap(), "--force"]).succeed();
    Vault::of(&other).get("secret/data/app").expect(503);
    other.kill();
    fs::copy(key_file(&first), key_file(&other)).unwrap();
    other.restart();
    let read = Vault::of(&other).get("secret/data/app").expect(200);
    assert_eq!(read["data"]["data"]["password"], "kept");
}

#[test]
fn a_rotated_master_key_opens_custody_wherever_the_rotation_ended() {
    with_seeds(1, |seed| {
        let mut chance = Chance::new(seed);
        let mut layer = Layer::start(Options::default());
        Vault::of(&layer).post("secret/data/app", &json!({ "data": { "password": "kept" } })).expect(200);
        let (current, fresh) = (key_file(&layer), key_file(&layer).with_extension("key.new"));
        let first = fs::read(&current).unwrap();
        layer.cli(&["custody", "rotate", "--master-key"]).succeed();
        assert_ne!(fs::read(&current).unwrap(), first);
        assert_eq!(fs::metadata(&current).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(layer.events_of("v1.custody.rekeyed").len(), 1);
        for _ in 0..3 {
            let moment = Instant::now() + Duration::from_micros(chance.pick(0..ROTATION));
            let vault = Vault::of(&layer);
            std::thread::scope(|scope| {
                // Whether it is answered is not asked: the layer is killed meanwhile.
                scope.spawn(move || vault.call(Method::PUT, "sys/rotate/root", &[], "{}").is_ok());
                until("the moment has come", PATIENCE, || (Instant::now() >= moment).then_some(()));
                layer.kill();
            });
            layer.restart();
            assert!(!fresh.exists());
            let read = Vault::of(&layer).get("secret/data/app").expect(200);
            assert_eq!(read["data"]["data"]["password"], "kept");
        }
    });
}

/// Brings shares, as an operator does who has them in a file.
fn unseal(layer: &Layer, shares: &[&str]) -> (i32, String) {
    let mut command = layer.command();
    command.args(["custody", "unseal"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(shares.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1;
    flipped
}

fn key_file(layer: &Layer) -> PathBuf {
    layer.data_dir().join("custody/master.key")
}
