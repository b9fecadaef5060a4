//! Evidence of drills of a real database, as a stranger sees it who has nothing of Mainstay.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use mainstay_types::Timestamp;
use serde_json::Value;

use super::protected;
use crate::harness::uri_of;

/// Verifies one file with one key by openssl, and prints what it says.
const STRANGER: &str = r#"
import base64, json, subprocess, sys, tempfile
envelope = json.load(open(sys.argv[1]))
kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
with tempfile.TemporaryDirectory() as place:
    message, signature = place + "/message", place + "/signature"
    open(message, "wb").write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    open(signature, "wb").write(base64.b64decode(envelope["signatures"][0]["sig"]))
    subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", sys.argv[2], "-rawin", "-in", message,
                    "-sigfile", signature], check=True, stdout=sys.stderr)
print(payload.decode())
"#;

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn evidence_is_the_same_whenever_it_is_written_and_shows_what_was_changed() {
    let mut layer = protected();
    let assertions = "drill.assertions=SELECT count(*) FROM orders => 3\nSELECT max(id) FROM orders=>4";
    layer.cli(&["create", "postgresql/v1", "shop", "--set", assertions]).succeed();
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2), (3)");
    layer.cli(&["backup", "shop"]).succeed();
    let failed = layer.cli(&["drill", "shop"]);
    assert!(failed.code == 1 && failed.stderr.contains("SELECT max(id) FROM orders"), "{failed:?}");

    // What the manifest says is what there is, and takes the place of it.
    let manifest = layer.scratch().join("manifest.yaml");
    let text = layer.cli(&["export"]).succeed();
    std::fs::write(&manifest, &text).unwrap();
    let manifest = manifest.to_str().unwrap();
    assert_eq!(layer.cli(&["diff", "-f", manifest]).succeed(), "");
    std::fs::write(manifest, text.replace("orders => 4", "orders => 3")).unwrap();
    assert_eq!(layer.cli(&["diff", "-f", manifest]).code, 1);
    layer.cli(&["apply", "-f", manifest]).succeed();
    assert_eq!(layer.cli(&["diff", "-f", manifest]).succeed(), "");
    layer.cli(&["drill", "shop"]).succeed();

    let scratch = layer.scratch().to_owned();
    let place = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let (first, second, keys) = (place("first"), place("second"), place("keys.pem"));
    let until = Timestamp::now().to_string();
    layer.cli(&["drills", "export", "--to", &first, "--until", &until]).succeed();
    std::fs::write(&keys, layer.cli(&["drills", "keys", "--pem"]).succeed()).unwrap();
    layer.cli(&["drills", "keys", "--new"]).succeed();
    layer.cli(&["drill", "shop"]).succeed();
    layer.stop();
    layer.restart();
    layer.cli(&["drills", "export", "shop", "--to", &second, "--until", &until]).succeed();
    assert_eq!(files(Path::new(&first)), files(Path::new(&second)), "byte by byte");

    // A stranger has the files alone.
    let folder = Path::new(&first);
    let names: Vec<String> = files(folder).into_keys().filter(|name| name.ends_with(".json")).collect();
    let of_newest = folder.join(names.last().unwrap());
    let stranger = Command::new("python3").args(["-c", STRANGER]).arg(&of_newest).arg(&keys).output().unwrap();
    assert!(stranger.status.success(), "{stranger:?}");
    let statement: Value = serde_json::from_slice(&stranger.stdout).unwrap();
    let drill = &statement["predicate"];
    let asserted = drill["assertions"].as_array().unwrap();
    assert_eq!((&drill["result"], asserted.len()), (&"passed".into(), 2), "{statement}");
    assert!(asserted.iter().all(|asked| asked["met"] == true), "{statement}");
    let event = layer.events().into_iter().find(|event| event["sequence"] == drill["journal"]["sequence"]).unwrap();
    let next = event["sequence"].as_u64().unwrap() + 1;
    let follower = layer.events().into_iter().find(|event| event["sequence"] == next).unwrap();
    assert_eq!(drill["journal"]["digest"], follower["previous"], "it is the event that the chain goes on from");
    assert!(statement["subject"].as_array().unwrap().len() > 1, "the backup's parts are named: {statement}");

    let verify = |arguments: &[&str]| layer.cli(&[&["drills", "verify"], arguments].concat());
    assert!(verify(&[&first]).succeed().contains("shop"));
    verify(&[&first, "--keys", &keys]).succeed();
    let bundle = place("all.json");
    layer.cli(&["drills", "export", "--to", &bundle]).succeed();
    verify(&[&bundle]).succeed();
    let refused = verify(&[&bundle, "--keys", &keys]);
    assert!(refused.code == 1 && refused.stdout.contains("not one of those that are trusted"), "{refused:?}");

    // Somebody makes a drill that failed one that passed.
    let of_failed = folder.join(&names[0]);
    let forge = "import base64, json, sys; e = json.load(open(sys.argv[1])); p = base64.b64decode(e['payload']); \
                 e['payload'] = base64.b64encode(p.replace(b'\"result\":\"failed\"', b'\"result\":\"passed\"')).decode(); \
                 json.dump(e, open(sys.argv[1], 'w'))";
    assert!(Command::new("python3").args(["-c", forge]).arg(&of_failed).status().unwrap().success());
    let found = verify(&[&first]);
    assert_eq!(found.code, 1, "{found:?}");
    let changed: Vec<&str> = found.stdout.lines().filter(|line| line.contains("was changed")).collect();
    assert!(changed.len() == 1 && changed[0].contains(&names[0]), "{found:?}");
    assert!(!Command::new("python3").args(["-c", STRANGER]).arg(&of_failed).arg(&keys).status().unwrap().success());
}
