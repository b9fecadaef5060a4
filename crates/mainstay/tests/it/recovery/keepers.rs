//! Which layer keeps a repository, and what becomes of one that does not any more, or whose repository is not there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{arguments, backed_up, documents, key_file, protected, standing};
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until it says that nothing is backed up, and why.
fn in_trouble(layer: &Layer, word: &str) {
    until(word, PATIENCE, || {
        let standing = standing(layer);
        let said = standing["repository"]["trouble"].as_str()?.contains(word);
        (standing["state"] == "unavailable" && said).then_some(())
    });
    assert_eq!(layer.cli(&["repository", "status"]).code, 1);
}

fn change(layer: &Layer) {
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_recovered_layer_takes_the_repository_over_and_the_old_one_stops_writing() {
    let old = protected();
    backed_up(&old);
    let key = key_file(&old);
    let repository = old.repository().to_str().unwrap().to_owned();
    let mut new =
        Layer::new(Options { environment: vec![("Recovery__Repository", repository.clone())], ..Options::default() });
    let recovered = new.cli(&arguments(&old.repository(), &new.data_dir(), &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    new.restart();
    backed_up(&new);
    in_trouble(&old, "kept by another layer");
    let told = old.cli(&["repository", "status"]).stdout;
    assert!(told.contains("mainstay repository take-over"), "{told}");
    let before = documents(&old.repository(), "layer");
    change(&new);
    until("the new one goes on", PATIENCE, || (documents(&old.repository(), "layer") > before).then_some(()));

    // It was the wrong one after all.
    assert_eq!(old.cli(&["repository", "take-over"]).code, 0);
    backed_up(&old);
    in_trouble(&new, "kept by another layer");
}

#[test]
fn an_empty_place_where_the_repository_was_does_not_become_one() {
    let mut layer = protected();
    backed_up(&layer);
    let (repository, aside) = (layer.repository(), layer.scratch().join("aside"));
    let id = standing(&layer)["repository"]["id"].clone();
    // While it runs.
    std::fs::rename(&repository, &aside).unwrap();
    std::fs::create_dir(&repository).unwrap();
    in_trouble(&layer, "see that the disk is mounted");
    layer.stop();
    // And when it starts.
    layer.restart();
    in_trouble(&layer, "see that the disk is mounted");
    assert_eq!(std::fs::read_dir(&repository).unwrap().count(), 0, "nothing is written where the disk should be");
    std::fs::remove_dir(&repository).unwrap();
    std::fs::rename(&aside, &repository).unwrap();
    until("it is used again", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    backed_up(&layer);
    assert_eq!(standing(&layer)["repository"]["id"], id);

    // Somebody means it.
    std::fs::remove_dir_all(&repository).unwrap();
    change(&layer);
    in_trouble(&layer, "mainstay repository take-over");
    assert_eq!(layer.cli(&["repository", "take-over"]).code, 0);
    backed_up(&layer);
    assert_ne!(standing(&layer)["repository"]["id"], id);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
}

#[test]
fn a_repository_that_comes_back_as_it_was_before_is_opened_anew() {
    let layer = protected();
    backed_up(&layer);
    let (repository, earlier) = (layer.repository(), layer.scratch().join("earlier"));
    copy(&repository, &earlier);
    change(&layer);
    backed_up(&layer);
    std::fs::remove_dir_all(&repository).unwrap();
    change(&layer);
    in_trouble(&layer, "see that the disk is mounted");
    std::fs::rename(&earlier, &repository).unwrap();
    until("it is used again", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    change(&layer);
    backed_up(&layer);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0, "everything that is needed is there again");
}
