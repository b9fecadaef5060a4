//! The index follows from the log, and can be lost.

use std::path::Path;

use mainstay_dataplane::{DataPlane, Hints, Inventory, Owner, Stored};

use crate::{all, busy, delete, empties, everything, flip, ingest, noise, open, source};

/// Work that leaves everything in the log that there can be.
async fn work(directory: &Path) -> Vec<(Owner, Stored)> {
    let plane = open(directory, busy()).await;
    for seed in 0..150u64 {
        let len = if seed.is_multiple_of(9) { 60_000 } else { 1000 + seed as usize };
        let receipt = ingest(&plane, &noise(seed + 1, len)).await;
        if seed.is_multiple_of(4) {
            plane.ingest_stream(source(&noise(seed + 1, len)), Hints::plain(Owner::Backups)).await.unwrap();
        }
        if seed.is_multiple_of(3) {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
        if seed.is_multiple_of(50) {
            plane.reclaim().await.unwrap();
        }
    }
    let left = everything(&plane).await;
    plane.close().await;
    left
}

#[tokio::test]
async fn a_lost_index_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let left = work(directory.path()).await;
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    let plane = open(directory.path(), busy()).await;
    assert_eq!(everything(&plane).await, left);
    for (_, stored) in &left {
        plane.verify_object(mainstay_dataplane::Verify { address: stored.address, key: None }).await.unwrap();
    }
    empties(directory.path(), &plane).await;
}

#[tokio::test]
async fn an_index_that_is_something_else_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let left = work(directory.path()).await;
    let index = directory.path().join("index.redb");
    for garbage in [Vec::new(), b"hello".to_vec(), noise(1, 100_000).to_vec()] {
        std::fs::write(&index, garbage).unwrap();
        let plane = open(directory.path(), busy()).await;
        assert_eq!(everything(&plane).await, left);
        plane.close().await;
    }
}

/// Whatever is flipped in the index: the store opens or makes it anew; what it serves is right; a restart mends it.
#[tokio::test]
async fn an_index_with_a_flipped_bit_serves_nothing_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let left = work(directory.path()).await;
    let index = directory.path().join("index.redb");
    let len = index.metadata().unwrap().len() as usize;
    let whole = std::fs::read(&index).unwrap();
    let used: Vec<usize> = (0..len).filter(|at| whole[*at] != 0).collect();
    // What redb says when it panics is expected here.
    for at in used.iter().step_by(used.len() / 24 + 1) {
        std::fs::write(&index, &whole).unwrap();
        flip(&index, *at);
        let plane = open(directory.path(), busy()).await;
        let mut mended = true;
        for (_, stored) in &left {
            let content = (1..151).map(|seed| noise(seed, stored.size as usize));
            match crate::read(&plane, stored.address, None).await {
                Ok(read) => assert!(content.into_iter().any(|content| read == content), "byte {at}"),
                Err(_) => mended = false,
            }
        }
        plane.close().await;
        if !mended {
            let _ = std::fs::remove_file(&index);
        }
        let plane = open(directory.path(), busy()).await;
        if !mended {
            assert_eq!(everything(&plane).await, left, "byte {at}");
        }
        plane.close().await;
    }
}

#[tokio::test]
async fn an_older_index_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    work(directory.path()).await;
    let index = directory.path().join("index.redb");
    let older = std::fs::read(&index).unwrap();
    let plane = open(directory.path(), busy()).await;
    for stored in all(&plane, Owner::Objects).await.into_iter().take(30) {
        delete(&plane, Owner::Objects, stored.address, stored.claim).await;
    }
    for seed in 1000..1100 {
        ingest(&plane, &noise(seed, 3000)).await;
    }
    let left = everything(&plane).await;
    plane.close().await;
    std::fs::write(&index, older).unwrap();
    let plane = open(directory.path(), busy()).await;
    assert_eq!(everything(&plane).await, left);
    empties(directory.path(), &plane).await;
}
