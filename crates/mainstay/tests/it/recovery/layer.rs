//! The layer's own state: journal, secrets, tokens.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use super::{arguments, backed_up, key_file, lose, protected};
use crate::harness::{Chance, Layer, Options, until, with_seeds};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_empty_directory_becomes_the_layer_again() {
    let mut layer = protected();
    let token = layer.cli(&["token", "create", "--role", "viewer", "-o", "json"]).json();
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    layer.cli(&["recovery-key", "acknowledge"]).succeed();
    let key = key_file(&layer);
    backed_up(&layer);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
    assert_eq!(layer.cli(&["repository", "status"]).code, 0);
    let shown = layer.events_of("v1.recovery.key-shown");
    assert_eq!(shown.len(), 1);
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(!layer.log().contains(&text) && !format!("{:?}", layer.events()).contains(&text), "the key is in no log");
    let events = layer.events();
    layer.stop();

    // Nothing in a directory that is not empty is overwritten.
    let (repository, data) = (layer.repository(), layer.data_dir());
    let refused = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is not empty"), "{refused:?}");
    lose(&layer);
    let wrong = layer.scratch().join("wrong.key");
    std::fs::write(&wrong, "MSRK1-00000").unwrap();
    let refused = layer.cli(&arguments(&repository, &data, &wrong));
    assert_eq!(refused.code, 1);
    assert!(!data.exists(), "a refused recovery leaves nothing");

    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    layer.restart();
    let now = layer.events();
    assert_eq!(now[..events.len()], events[..], "every event is what it was");
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
    assert_eq!(layer.cli(&["journal", "verify"]).code, 0);
    let viewer = layer.command().args(["list", "--token", token["token"].as_str().unwrap()]).output().unwrap();
    assert!(viewer.status.success(), "a token of before is accepted: {viewer:?}");
    backed_up(&layer);
}

#[test]
fn shares_make_the_key() {
    let mut layer = protected();
    let made = layer.cli(&["recovery-key", "split", "--shares", "3", "--threshold", "2", "-o", "json"]).json();
    backed_up(&layer);
    layer.stop();
    lose(&layer);
    let files: Vec<_> = [2, 0]
        .into_iter()
        .map(|at: usize| {
            let file = layer.scratch().join(format!("share-{at}"));
            std::fs::write(&file, made["shares"][at].as_str().unwrap()).unwrap();
            file
        })
        .collect();
    let (repository, data) = (layer.repository(), layer.data_dir());
    let with = |files: &[std::path::PathBuf]| {
        let mut command = layer.command();
        command.arg("recover").arg("--repository").arg(&repository).arg("--to").arg(&data);
        for file in files {
            command.arg("--share-file").arg(file);
        }
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = with(&files[..1]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let recovered = with(&files);
    assert!(recovered.status.success(), "{recovered:?}");
    layer.restart();
}

#[test]
fn a_recovery_that_is_killed_is_repeated() {
    let mut layer = protected();
    for number in 0..20 {
        layer.cli(&["secret", "put", &format!("secret/app-{number}"), "password=hunter2"]).succeed();
    }
    let key = key_file(&layer);
    backed_up(&layer);
    let events = layer.events();
    layer.stop();
    lose(&layer);
    let (repository, data) = (layer.repository(), layer.data_dir());
    with_seeds(4, |seed| {
        let mut chance = Chance::new(seed);
        let mut child = layer
            .command()
            .args(arguments(&repository, &data, &key))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once it has begun to write it is killed at some moment.
        until("it has begun", PATIENCE, || {
            (data.join("recovering").exists() || child.try_wait().unwrap().is_some()).then_some(())
        });
        let moment = std::time::Instant::now() + Duration::from_millis(chance.pick(0..150));
        until("the moment has come", PATIENCE, || (std::time::Instant::now() >= moment).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        if data.join("recovering").exists() {
            // A program that it was just about to run may have its lock for a moment longer.
            until("nobody has the directory any more", PATIENCE, || {
                let refused = layer.cli(&["up"]);
                assert_eq!(refused.code, 1);
                refused.stderr.contains("is being recovered").then_some(())
            });
        }
        if !data.join("recovering").exists() && data.exists() {
            // It was faster than the signal.
            lose(&layer);
        }
    });
    let recovered = layer.cli(&arguments(&repository, &data, &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert!(!data.join("recovering").exists());
    layer.restart();
    assert_eq!(layer.events()[..events.len()], events[..]);
    assert_eq!(layer.cli(&["secret", "get", "secret/app-19", "--field", "password"]).succeed().trim(), "hunter2");
}

#[test]
fn a_master_key_file_that_is_there_is_not_replaced() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("master.key");
    std::fs::write(&file, [7; 32]).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let environment = vec![("Custody__KeyFile", file.to_str().unwrap().to_owned())];
    let mut layer = Layer::start(Options { environment, repository: true, ..Options::default() });
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    until("the repository is there", PATIENCE, || layer.repository().join("documents/layer").exists().then_some(()));
    let key = key_file(&layer);
    backed_up(&layer);
    layer.stop();
    lose(&layer);
    let (repository, data) = (layer.repository(), layer.data_dir());
    let recover = |layer: &Layer| layer.cli(&arguments(&repository, &data, &key));
    let whole = std::fs::read(&file).unwrap();

    std::fs::write(&file, "somebody else's key").unwrap();
    let refused = recover(&layer);
    assert!(refused.code == 1 && refused.stderr.contains("Custody:KeyFile"), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"somebody else's key");
    // One that cannot be read may be anything.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(recover(&layer).code, 1);
    assert!(file.is_dir());

    std::fs::remove_dir(&file).unwrap();
    let recovered = recover(&layer);
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    layer.restart();
    assert_eq!(layer.cli(&["secret", "get", "secret/app", "--field", "password"]).succeed().trim(), "hunter2");
}
