//! Evidence of drills, as it is written and looked at.

use std::path::Path;

use mainstay_evidence::{DrillShown, Envelope, SigningKey, Statement};
use serde_json::{Value, json};

use crate::api::Api;
use crate::run;

fn signed(key: &SigningKey) -> Envelope {
    let drill = json!({
        "result": "passed", "checks": [], "assertions": [], "measured": {},
        "instance": {"id": "i-0123456789ab", "tenant": "default", "name": "shop"},
        "began_at": "2026-11-21T02:00:00.000000Z", "ended_at": "2026-11-21T02:00:04.000000Z",
        "journal": {"layer": "aa", "sequence": 42, "kind": "v1.drill.passed", "digest": "bb", "previous": "cc"}
    });
    Envelope::seal(&Statement::about(serde_json::from_value::<DrillShown>(drill).unwrap(), []), key)
}

/// A layer that has this evidence, and calls its key by this id.
fn layer(evidence: &Envelope, key: &SigningKey, id: &str) -> Api {
    let key = json!({"id": id, "number": 1, "public_key": key.public().to_pem(), "sequence": 7,
        "introduced_at": "2026-11-21T00:00:00Z"});
    let page = |item: Value| json!({"items": [item], "next": null}).to_string();
    let evidence = page(serde_json::to_value(evidence).unwrap());
    Api::start(&[("GET /drills/evidence", 200, &evidence), ("GET /drills/keys", 200, &page(key))])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_result_says_which_keys_were_trusted_and_where_they_came_from() {
    let (place, key) = (tempfile::tempdir().unwrap(), SigningKey::from_seed(&[1; 32]));
    let (id, evidence) = (key.public().id().to_string(), place.path().join("evidence"));
    let api = layer(&signed(&key), &key, &id);
    assert_eq!(run(&api, &["drills", "export", "--to", text(&evidence)]).0, 0);
    let own = evidence.join(format!("keys/{id}.pem"));

    let (code, stdout, _) = run(&api, &["drills", "verify", text(&evidence), "-o", "json"]);
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &result["items"][0]["verified"]), (0, &json!(true)));
    assert_eq!(result["trusted_keys"], json!([{"id": id, "from": "export", "file": text(&own)}]));
    let (_, table, _) = run(&api, &["drills", "verify", text(&evidence)]);
    assert!(table.lines().last().unwrap().starts_with(&format!("{id}  export")), "{table}");

    let (named, others) = (place.path().join("keys.pem"), place.path().join("others.pem"));
    std::fs::copy(&own, &named).unwrap();
    std::fs::write(&others, SigningKey::from_seed(&[2; 32]).public().to_pem()).unwrap();
    let verify = |keys: &Path| {
        let (code, stdout, _) = run(&api, &["drills", "verify", text(&evidence), "--keys", text(keys), "-o", "json"]);
        let keys = serde_json::from_str::<Value>(&stdout).unwrap()["trusted_keys"].clone();
        (code, keys[0]["from"].clone(), keys[0]["file"].clone())
    };
    assert_eq!(verify(&named), (0, json!("named"), json!(text(&named))));
    assert_eq!(verify(&others), (1, json!("named"), json!(text(&others))));
}

#[test]
fn a_key_has_the_name_that_follows_from_it_or_nothing_is_written() {
    let (place, key) = (tempfile::tempdir().unwrap(), SigningKey::from_seed(&[1; 32]));
    let target = place.path().join("evidence");
    for id in ["../../escaped", &"0".repeat(64)] {
        let mut evidence = signed(&key);
        evidence.signatures[0].keyid = serde_json::from_value(json!(id)).unwrap();
        let api = layer(&evidence, &key, id);
        let (code, _, stderr) = run(&api, &["drills", "export", "--to", text(&target)]);
        assert!(code == 1 && stderr.contains(id) && stderr.contains("no evidence is written"), "{stderr}");
        assert!(!target.exists() && place.path().read_dir().unwrap().next().is_none());
    }
}

#[test]
fn evidence_that_is_not_understood_is_not_left_out() {
    let (place, key) = (tempfile::tempdir().unwrap(), SigningKey::from_seed(&[1; 32]));
    let mut evidence = signed(&key);
    // A statement of a form that comes later.
    evidence.payload = "e30=".to_owned();
    let api = layer(&evidence, &key, key.public().id().as_str());
    let (folder, file) = (place.path().join("evidence"), place.path().join("all.json"));
    let (code, _, stderr) = run(&api, &["drills", "export", "--to", text(&folder)]);
    assert!(code == 1 && stderr.contains("update mainstay") && stderr.contains(".json"), "{stderr}");
    assert!(!folder.exists());
    assert_eq!(run(&api, &["drills", "export", "--to", text(&file)]).0, 0, "in one file it needs no name");
    assert!(std::fs::read_to_string(&file).unwrap().contains("e30="));
}
