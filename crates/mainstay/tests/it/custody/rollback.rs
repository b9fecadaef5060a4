//! An older state of the store, put back behind the layer's back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Layer, Options, Vault, until};

#[test]
fn an_old_store_put_back_is_refused() {
    let mut layer = Layer::start(Options::default());
    Vault::of(&layer).post("secret/data/app", &json!({ "data": { "n": 1 } })).expect(200);
    layer.stop();
    let old: Vec<(PathBuf, Vec<u8>)> =
        files_of_custody(&layer).map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    assert!(!old.is_empty());
    layer.restart();
    let admin = Vault::of(&layer);
    admin.post("secret/data/app", &json!({ "data": { "n": 2 } })).expect(200);
    admin.post("sys/rotate", &json!({})).expect(204);
    layer.stop();
    let new: Vec<(PathBuf, Vec<u8>)> =
        files_of_custody(&layer).map(|path| (path.clone(), fs::read(&path).unwrap())).collect();

    put_back(&layer, &old);
    layer.restart_in_trouble();
    let admin = Vault::of(&layer);
    for path in ["secret/data/app", "auth/token/lookup-self", "sys/mounts"] {
        admin.get(path).expect(503);
    }
    admin.post("secret/data/app", &json!({ "data": { "n": 3 } })).expect(503);
    // Its key file does not unseal it, and whoever looks is told why.
    assert_eq!(admin.get("sys/seal-status").expect(200)["sealed"], true);
    let ready = layer.api().get("/readyz");
    assert!(ready.status == 503 && ready.text.contains("old copy"), "{ready:?}");
    layer.stop();
    // With the newest state in its place again it starts, and has lost nothing.
    put_back(&layer, &new);
    layer.restart();
    let read = Vault::of(&layer).get("secret/data/app").expect(200);
    assert_eq!(read["data"]["data"]["n"], 2);
}

/// The database of custody, with what may lie beside it.
fn files_of_custody(layer: &Layer) -> impl Iterator<Item = PathBuf> {
    let folder = layer.data_dir().join("storage");
    until("the store is closed", Duration::from_secs(10), || {
        (!folder.join("custody.sqlite-wal").exists()).then_some(())
    });
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("custody.sqlite"))
}

fn put_back(layer: &Layer, files: &[(PathBuf, Vec<u8>)]) {
    files_of_custody(layer).for_each(|path| fs::remove_file(path).unwrap());
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}
