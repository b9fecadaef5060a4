//! The audit log of the real binary: complete, without secrets, and in its place or nothing is done.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Filler, Layer, Options, Vault, may_mount, mount_small_disk};

#[test]
fn each_request_is_told_of_without_its_secrets() {
    let layer = Layer::start(Options::default());
    let admin = Vault::of(&layer);
    admin.post("secret/data/app", &json!({ "data": { "password": "canary-password", "pin": 4711_4711 } })).expect(200);
    admin.get("secret/data/app").expect(200);
    let token = admin.token(&json!({ "meta": { "for": "audit" } }));
    admin.with_token(&token).get("auth/token/lookup-self").expect(200);
    admin.with_token("canary-forged-token").get("secret/data/app").expect(403);
    admin.with_token("").get("secret/data/app?x=canary-query").expect(403);
    let hash = |text: &str| {
        let answer = admin.post("sys/audit-hash/file", &json!({ "input": text })).expect(200);
        answer["data"]["hash"].as_str().unwrap().to_owned()
    };
    let (password, of_token) = (hash("canary-password"), hash(&token));
    let (text, lines) = audited(&layer.data_dir().join("custody/audit.log"));
    let of_type = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    for line in of_type("response") {
        let twin = |other: &&&Value| other["request"]["id"] == line["request"]["id"];
        assert_eq!(of_type("request").iter().filter(twin).count(), 1, "{line}");
    }
    let unanswered = of_type("request").into_iter().filter(|line| line["error"].is_string()).count();
    assert_eq!((unanswered, of_type("request").len() - of_type("response").len()), (2, 2), "{text}");
    assert_eq!(lines[0]["request"]["data"]["data"]["password"], password.as_str());
    assert_eq!(lines[3]["response"]["data"]["data"]["password"], password.as_str());
    assert_eq!(lines[5]["response"]["auth"]["client_token"], of_token.as_str());
    for secret in ["canary", "47114711", token.as_str(), layer_token(&layer).as_str()] {
        assert!(!text.contains(secret), "{secret} is in the audit log");
    }
    // It is moved away, as programs that rotate logs do, and goes on in a new file.
    let (file, moved) = (layer.data_dir().join("custody/audit.log"), layer.data_dir().join("custody/audit.log.1"));
    fs::rename(&file, &moved).unwrap();
    crate::harness::until("a new file is made", std::time::Duration::from_secs(20), || {
        admin.get("secret/data/app").expect(200);
        file.exists().then_some(())
    });
    admin.get("secret/data/app").expect(200);
    assert!(audited(&file).1.len() >= 2);
    assert!(audited(&moved).0.starts_with(&text));
}

#[test]
fn a_full_audit_disk_stops_everything_and_changes_nothing() {
    if !may_mount() {
        return;
    }
    // The audit log is on a disk of its own.
    let place = tempfile::tempdir().unwrap();
    let audit = place.path().join("audit.log");
    let small = Small::mount(place.path());
    let environment = vec![("Custody__AuditFile", audit.display().to_string())];
    let layer = Layer::start(Options { environment, ..Options::default() });
    let admin = Vault::of(&layer);
    admin.post("secret/data/app", &json!({ "data": { "n": 1 } })).expect(200);
    let filler = Filler::leave(place.path(), 0);
    let refused = crate::harness::until("the disk is full", std::time::Duration::from_secs(20), || {
        let answer = admin.get("secret/data/app");
        (answer.status != 200).then_some(answer)
    });
    let text = refused.expect(500)["errors"][0].as_str().unwrap().to_owned();
    assert!(text.contains("audit log") && text.contains(audit.to_str().unwrap()), "{text}");
    for _ in 0..5 {
        admin.post("secret/data/app", &json!({ "data": { "n": 2 } })).expect(500);
        admin.post("auth/token/create", &json!({ "id": "never-made" })).expect(500);
        admin.post("sys/mounts/never", &json!({ "type": "kv" })).expect(500);
    }
    // What custody is not asked for goes on.
    assert!(layer.is_live());
    layer.api().get("/api/v1/instances").expect(200);
    drop(filler);
    let read = admin.get("secret/data/app").expect(200);
    assert_eq!((&read["data"]["data"]["n"], &read["data"]["metadata"]["version"]), (&json!(1), &json!(1)));
    admin.with_token("never-made").get("auth/token/lookup-self").expect(403);
    assert!(admin.get("sys/mounts").expect(200)["data"].get("never/").is_none());
    // A line that was cut short spoils no other.
    let lines = fs::read_to_string(&audit).unwrap();
    let whole = lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert!(whole >= 6, "{lines}");
    drop(layer);
    drop(small);
}

/// A disk that is taken away again.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(place: &'a Path) -> Self {
        mount_small_disk(place);
        Self(place)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        assert!(std::process::Command::new("umount").arg(self.0).status().unwrap().success());
    }
}

fn audited(file: &Path) -> (String, Vec<Value>) {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (text, lines)
}

fn layer_token(layer: &Layer) -> String {
    fs::read_to_string(layer.data_dir().join("admin.token")).unwrap().trim().to_owned()
}
