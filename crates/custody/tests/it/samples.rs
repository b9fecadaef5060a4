//! A store of every released schema version is read by this one.

use std::fs;
use std::path::Path;

use mainstay_custody::Custody;
use mainstay_storage::Location;

use crate::{get, key, put};

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples")
}

#[tokio::test]
async fn version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(samples().join("v1.sqlite"), directory.path().join("custody.sqlite")).unwrap();
    let custody = Custody::open(&Location::Directory(directory.path().into()), key(7)).await.unwrap();
    assert_eq!(get(&custody, "sample/first").await.as_deref(), Some("kept under data key 1"));
    assert_eq!(get(&custody, "sample/second").await.as_deref(), Some("kept under data key 2"));
}

/// How the sample of the newest version is made, once, before that version is released.
#[tokio::test]
#[ignore = "writes the sample"]
async fn write_the_sample() {
    let directory = tempfile::tempdir().unwrap();
    let custody = Custody::open(&Location::Directory(directory.path().into()), key(7)).await.unwrap();
    put(&custody, "sample/first", "kept under data key 1").await;
    custody.rotate_data_key().await.unwrap();
    put(&custody, "sample/second", "kept under data key 2").await;
    custody.close().await;
    fs::copy(directory.path().join("custody.sqlite"), samples().join("v1.sqlite")).unwrap();
}
