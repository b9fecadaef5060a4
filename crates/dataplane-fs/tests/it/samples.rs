//! Stores that earlier versions wrote, checked in: each of them opens, for ever.
//!
//! `cargo test -p mainstay-dataplane-fs --test it -- --ignored writes_a_sample` writes one of the current version to
//! `MAINSTAY_SAMPLE_DIR`; it is checked in when the version of a format changes, beside those that are there.

use std::path::Path;

use bytes::Bytes;
use mainstay_dataplane::{Claim, Compression, DataPlane, Hints, Inventory, Owner, Verify};
use mainstay_dataplane_fs::FsConfig;

use crate::{all, delete, empties, key, noise, open, plain, read, source};

fn config() -> FsConfig {
    FsConfig { small_up_to: 2000, ..FsConfig::default() }
}

/// What is in a sample: plain, compressed, encrypted, both; in a record and in a file.
fn contents() -> Vec<(Bytes, Hints)> {
    let text: Bytes = "all work and no play\n".repeat(60).into();
    let long: Bytes = text.repeat(3).into();
    let zstd = Hints { compression: Compression::Zstd, ..plain() };
    let sealed = Hints { key: Some(key()), ..plain() };
    let both = Hints { key: Some(key()), ..zstd.clone() };
    vec![
        (Bytes::new(), plain()),
        (noise(1, 100), plain()),
        (text, zstd.clone()),
        (noise(2, 300), sealed.clone()),
        (noise(3, 3000), plain()),
        (long.clone(), zstd),
        (noise(4, 2500), sealed),
        (long.slice(1..), both),
    ]
}

#[tokio::test]
#[ignore = "writes a sample to be checked in"]
async fn writes_a_sample() {
    let directory = std::env::var_os("MAINSTAY_SAMPLE_DIR").unwrap();
    let plane = open(Path::new(&directory), config()).await;
    let mut claims = Vec::new();
    for (content, hints) in contents() {
        claims.push(plane.ingest_stream(source(&content), hints).await.unwrap());
    }
    // A second owner, one that gave up, and content that is gone.
    plane.ingest_stream(source(&noise(1, 100)), Hints::plain(Owner::Backups)).await.unwrap();
    plane.ingest_stream(source(&noise(2, 300)), Hints::plain(Owner::Artifacts)).await.unwrap();
    delete(&plane, Owner::Objects, claims[1].address, claims[1].claim).await;
    let gone = plane.ingest_stream(source(&noise(9, 50)), plain()).await.unwrap();
    delete(&plane, Owner::Objects, gone.address, gone.claim).await;
    plane.close().await;
    // The index follows from the rest.
    std::fs::remove_file(Path::new(&directory).join("index.redb")).unwrap();
}

#[tokio::test]
async fn version_1_opens() {
    opens(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/1")).await;
}

async fn opens(sample: &Path) {
    let directory = tempfile::tempdir().unwrap();
    copy(sample, directory.path());
    let plane = open(directory.path(), config()).await;
    for (content, hints) in contents() {
        let address = mainstay_dataplane::Address::of(&content);
        plane.verify_object(Verify { address, key: hints.key.clone() }).await.unwrap();
        assert!(read(&plane, address, hints.key).await.unwrap() == content);
    }
    assert_eq!(plane.backend_health().await.contents, 8);
    assert_eq!(all(&plane, Owner::Objects).await.len(), 7);
    let backups = all(&plane, Owner::Backups).await;
    assert_eq!((backups.len(), backups[0].size, backups[0].claim), (1, 100, Claim(9)));
    assert_eq!(plane.contents(Owner::Artifacts, None, 10).await.unwrap()[0].claim, Claim(10));
    assert_eq!(plane.ingest_stream(source(&noise(77, 10)), plain()).await.unwrap().claim, Claim(12));
    empties(directory.path(), &plane).await;
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
