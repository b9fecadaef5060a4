//! Repositories that earlier versions wrote are recovered from, for ever.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::everything::python;
use super::{arguments, backed_up, key_file, protected};
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// What lies there: a repository's files, and its key.
fn sample(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recovery/sample-{format}"))
}

#[test]
fn a_repository_of_format_1_is_recovered_from() {
    let mut layer = Layer::new(Options { repository: true, ..Options::default() });
    copy(&sample(1).join("repository"), &layer.repository());
    let key = sample(1).join("recovery.key");
    let recovered = layer.cli(&arguments(&layer.repository(), &layer.data_dir(), &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    until("the bucket is ready", PATIENCE, || {
        (layer.api().get("/api/v1/instances/pictures").expect(200)["state"] == "ready").then_some(())
    });
    let mut credentials = layer.bind("pictures", "reader")["credentials"].clone();
    // The port is the one of the layer that wrote the sample.
    credentials["endpoint"] = json!(format!("http://127.0.0.1:{}", layer.s3_port()));
    python("check", &json!({ "bindings": { "pictures": credentials } }));
    assert_eq!(layer.cli(&["journal", "verify"]).code, 0);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
}

#[test]
#[ignore = "writes the sample of the format that there is now"]
fn writes_the_sample_of_format_1() {
    let mut layer = protected();
    layer.create_bucket("pictures", json!({}));
    let credentials = layer.bind("pictures", "writer")["credentials"].clone();
    python("fill", &json!({ "bindings": { "pictures": credentials } }));
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    layer.cli(&["backup", "pictures"]).succeed();
    let key = key_file(&layer);
    backed_up(&layer);
    layer.stop();
    let place = sample(1);
    std::fs::create_dir_all(&place).unwrap();
    copy(&layer.repository(), &place.join("repository"));
    std::fs::copy(key, place.join("recovery.key")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
