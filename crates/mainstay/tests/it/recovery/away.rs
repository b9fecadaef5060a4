//! A repository that is not there, or not ours, keeps nobody from being served.

use std::time::Duration;

use super::{backed_up, lose, protected, standing};
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn without_a_repository_it_says_that_nothing_is_protected() {
    let layer = Layer::start(Options::default());
    let standing = standing(&layer);
    assert_eq!(standing["state"], "none");
    assert!(standing["reminders"][0].as_str().unwrap().contains("nothing is protected"), "{standing}");
    assert_eq!(layer.cli(&["repository", "status"]).code, 1);
    layer.api().get("/api/v1/recovery/key").expect(409);
}

#[test]
fn a_repository_that_is_away_at_the_start_is_used_once_it_is_there() {
    let mut layer = Layer::new(Options { repository: true, ..Options::default() });
    // A file stands where the directory should be.
    std::fs::write(layer.repository(), "in the way").unwrap();
    layer.restart();
    until("it says so", PATIENCE, || (standing(&layer)["state"] == "unavailable").then_some(()));
    layer.cli(&["secret", "put", "secret/app", "password=hunter2"]).succeed();
    std::fs::remove_file(layer.repository()).unwrap();
    until("it is used", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    backed_up(&layer);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
}

#[test]
fn the_repository_of_another_layer_is_left_alone() {
    let mut layer = protected();
    backed_up(&layer);
    layer.stop();
    lose(&layer);
    std::fs::create_dir(layer.data_dir()).unwrap();
    // The same place, and a layer that begins anew: its key is another one.
    layer.restart();
    let reminder = until("it says so", PATIENCE, || {
        let standing = standing(&layer);
        let first = standing["reminders"].as_array()?.iter().find(|said| said.as_str().unwrap().contains("another"))?;
        Some(first.as_str().unwrap().to_owned())
    });
    assert!(reminder.contains("mainstay recover --repository"), "{reminder}");
}
