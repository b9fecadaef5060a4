//! The whole layer goes back to an earlier moment, and goes on from there.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{arguments, backed_up, key_file, lose, protected};
use crate::harness::{Layer, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_layer_that_went_back_to_before_a_cluster_protects_the_one_that_is_made_anew() {
    let mut layer = protected();
    let key = key_file(&layer);
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    backed_up(&layer);
    let before = moment();
    let first = make(&layer, "shop", 1);
    layer.cli(&["backup", "shop"]).succeed();
    layer.psql(&first, "INSERT INTO t SELECT generate_series(1, 1000)");
    // Its log has segments with the names of those to come.
    for _ in 0..3 {
        let superuser = layer.superuser("postgresql-shared", layer.postgresql_port());
        layer.psql(&superuser, "CREATE TABLE filler (); DROP TABLE filler; SELECT pg_switch_wal()");
    }
    reached(&layer, "shop");
    backed_up(&layer);
    layer.stop();
    lose(&layer);

    let (repository, data) = (layer.repository(), layer.data_dir());
    let recovered = layer.cli(&[&arguments(&repository, &data, &key)[..], &["--at", &before]].concat());
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert!(recovered.stderr.contains("gone back from: 1."), "{recovered:?}");
    layer.restart();
    assert_eq!(layer.api().all("/api/v1/instances"), [Value::Null; 0]);
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    assert_eq!(layer.events_of("v1.layer.recovered").len(), 1);

    // The same name, the same cluster's name, and another cluster.
    let uri = make(&layer, "shop", 2);
    layer.cli(&["backup", "shop"]).succeed();
    layer.psql(&uri, "INSERT INTO t VALUES (3)");
    reached(&layer, "shop");
    let drilled = layer.cli(&["drill", "shop"]);
    assert_eq!(drilled.code, 0, "{drilled:?}");
    backed_up(&layer);
    layer.stop();
    lose(&layer);
    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    let rows = until("what was acknowledged is there", PATIENCE, || {
        layer.try_psql(&uri, "SELECT string_agg(a::text, ',' ORDER BY a) FROM t").ok()
    });
    assert_eq!(rows, "2,3");
    assert!(layer.try_psql(&first, "SELECT 1").is_err(), "a password of the past that was left is none");
}

#[test]
fn a_database_goes_back_with_its_layer_and_goes_on_from_there() {
    let mut layer = protected();
    let key = key_file(&layer);
    let uri = make(&layer, "shop", 1);
    layer.cli(&["backup", "shop"]).succeed();
    backed_up(&layer);
    layer.psql(&uri, "INSERT INTO t VALUES (2)");
    let moment = moment();
    layer.psql(&uri, "DELETE FROM t");
    layer.cli(&["backup", "shop"]).succeed();
    reached(&layer, "shop");
    backed_up(&layer);
    layer.stop();
    lose(&layer);

    let (repository, data) = (layer.repository(), layer.data_dir());
    let recovered = layer.cli(&[&arguments(&repository, &data, &key)[..], &["--at", &moment]].concat());
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    let rows = || until("it serves", PATIENCE, || layer.try_psql(&uri, "SELECT string_agg(a::text, ',') FROM t").ok());
    assert_eq!(rows(), "1,2");
    layer.psql(&uri, "INSERT INTO t VALUES (3)");
    reached(&layer, "shop");
    backed_up(&layer);
    layer.stop();
    lose(&layer);

    // The newest backup is of the past that was left, and nobody asked for that.
    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    let rows = until("it serves", PATIENCE, || layer.try_psql(&uri, "SELECT string_agg(a::text, ',') FROM t").ok());
    assert_eq!(rows, "1,2,3");
    assert_eq!(layer.api().all("/api/v1/instances/shop/backups").len(), 1);
}

#[test]
fn what_cannot_be_recovered_from_or_to_is_told_before_anything_is_written() {
    let mut layer = protected();
    let key = key_file(&layer);
    backed_up(&layer);
    layer.stop();
    lose(&layer);
    for name in ["Recovery__AccessKeyId", "Recovery__SecretAccessKey"] {
        layer.set(name, "anything");
    }
    let (repository, data) = (layer.repository(), layer.data_dir());
    let refused = |place: &str, file: &std::path::Path, at: &[&str], words: &[&str]| {
        let arguments = [&arguments(place.as_ref(), &data, file)[..], at].concat();
        let refused = layer.cli(&arguments);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(words.iter().all(|word| refused.stderr.contains(word)), "{words:?}: {refused:?}");
        assert!(!data.exists(), "nothing is left of a refused recovery");
    };
    let place = repository.to_str().unwrap();
    let another = layer.scratch().join("another.key");
    let text = include_str!("../../recovery/sample-1/recovery.key");
    std::fs::write(&another, text).unwrap();
    refused(place, &another, &[], &["does not open the repository", "which was made with"]);
    let empty = layer.scratch().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(empty.to_str().unwrap(), &key, &[], &["there is no repository at"]);
    refused("/nonexistent/repository", &key, &[], &["there is no repository at"]);
    refused("s3://bucket/layer?endpoint=http://127.0.0.1:9&region=x", &key, &[], &["s3://bucket/layer"]);
    refused("nothing://x", &key, &[], &["s3://BUCKET"]);
    refused(place, &key, &["--at", "2001-01-01T00:00:00Z"], &["no backup of the layer's own state from before"]);

    // What only looks like something is no obstacle, and what is something is one.
    std::fs::create_dir_all(data.join("storage")).unwrap();
    std::fs::write(data.join("mine"), "").unwrap();
    let stopped = layer.cli(&arguments(&repository, &data, &key));
    assert!(stopped.code == 1 && stopped.stderr.contains("is not empty"), "{stopped:?}");
    std::fs::remove_file(data.join("mine")).unwrap();

    // Two at once: one of them is told that the other has the directory.
    let recovery = || {
        let mut command = layer.command();
        command.args(arguments(&repository, &data, &key)).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let ended = [recovery(), recovery()].map(|child| child.wait_with_output().unwrap());
    let said = |at: usize| String::from_utf8_lossy(&ended[at].stderr).into_owned();
    let failed: Vec<usize> = (0..2).filter(|at| !ended[*at].status.success()).collect();
    assert_eq!(failed.len(), 1, "{ended:?}");
    assert!(said(failed[0]).contains("in use by process") || said(failed[0]).contains("is not empty"), "{ended:?}");
    layer.restart();
}

/// Makes a database with one row in it; gives the URI.
fn make(layer: &Layer, name: &str, row: u32) -> String {
    layer.create(name);
    let uri = uri_of(&layer.bind(name, "web"));
    layer.psql(&uri, &format!("CREATE TABLE t AS SELECT {row} AS a"));
    uri
}

/// Waits until everything that is committed can be had back.
fn reached(layer: &Layer, name: &str) {
    let committed = moment();
    until("the log is in the repository", PATIENCE, || {
        let recovery = layer.api().get(&format!("/api/v1/instances/{name}/recovery")).expect(200);
        (recovery["window"]["latest"].as_str()? >= committed.as_str()).then_some(())
    });
}

fn moment() -> String {
    mainstay_types::Timestamp::now().to_string()
}
