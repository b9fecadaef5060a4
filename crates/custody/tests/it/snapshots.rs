//! Sealed snapshots, and stores that are restored from them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_custody::{Custody, OpenError, RestoreError, SnapshotError, Split, Target, UnsealError};
use mainstay_storage::Location;
use mainstay_storage::scratch::ScratchPostgres;

use crate::{delete_entry, get, key, on_disk, put, put_entry};

async fn snapshot(custody: &Custody) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = custody.snapshot(&mut bytes).await.unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    bytes
}

/// A store that is opened without unsealing it, where no seal is known.
async fn blank(directory: &Path) -> Custody {
    Custody::open_sealed(&Location::Directory(directory.into())).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_is_restored_to_an_empty_machine_and_needs_its_seal() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let custody = on_disk(here.path()).await;
    put(&custody, "a", "canary-one-canary").await;
    custody.rotate_data_key().await.unwrap();
    put(&custody, "b/c", "canary-two-canary").await;
    let bytes = snapshot(&custody).await;
    assert!(!bytes.windows(6).any(|window| window == b"canary"));
    assert!(!bytes.windows(32).any(|window| window == [1; 32]));

    let restored = blank(there.path()).await;
    restored.restore(&mut bytes.as_slice(), Target::Empty).await.unwrap();
    assert!(restored.is_sealed());
    let wrong = restored.unseal_with(&key(2)).await.unwrap_err();
    assert!(matches!(wrong, UnsealError::WrongKey { .. }));
    restored.unseal_with(&key(1)).await.unwrap();
    assert_eq!(restored.position(), custody.position());
    assert_eq!(get(&restored, "a").await.as_deref(), Some("canary-one-canary"));
    assert_eq!(get(&restored, "b/c").await.as_deref(), Some("canary-two-canary"));
    put(&restored, "d", "three").await;
    restored.close().await;
    assert_eq!(get(&on_disk(there.path()).await, "d").await.as_deref(), Some("three"));
}

#[tokio::test]
async fn shares_open_a_restored_snapshot() {
    let custody = Custody::open_sealed(&Location::InMemory).await.unwrap();
    assert!(matches!(custody.snapshot(&mut Vec::new()).await, Err(SnapshotError::NotInitialized)));
    let shares = custody.initialize(Split::new(3u8, 2u8).unwrap()).await.unwrap();
    put(&custody, "a", "one").await;
    custody.seal().await;
    // Taken while it is sealed.
    let bytes = snapshot(&custody).await;
    let restored = Custody::open_sealed(&Location::InMemory).await.unwrap();
    restored.restore(&mut bytes.as_slice(), Target::Empty).await.unwrap();
    for share in &shares[1..] {
        restored.unseal(share.clone()).await.unwrap();
    }
    assert_eq!(get(&restored, "a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_store_is_replaced_only_when_that_is_meant_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let custody = on_disk(directory.path()).await;
    put(&custody, "a", "old").await;
    let bytes = snapshot(&custody).await;
    put(&custody, "a", "new").await;
    put(&custody, "b", "new").await;
    let refused = custody.restore(&mut bytes.as_slice(), Target::Empty).await;
    assert!(matches!(refused, Err(RestoreError::NotEmpty)));
    let damaged = bytes.len() / 7;
    for place in (0..bytes.len()).step_by(damaged / 10) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        for input in [&flipped[..], &bytes[..place]] {
            custody.restore(&mut &*input, Target::Anything).await.unwrap_err();
        }
    }
    assert_eq!(get(&custody, "a").await.as_deref(), Some("new"), "nothing was touched");
    custody.restore(&mut bytes.as_slice(), Target::Anything).await.unwrap();
    assert!(custody.is_sealed());
    custody.unseal_with(&key(1)).await.unwrap();
    assert_eq!(get(&custody, "a").await.as_deref(), Some("old"));
    assert_eq!(get(&custody, "b").await, None);
    put(&custody, "b", "again").await;
    custody.close().await;
    assert_eq!(get(&on_disk(directory.path()).await, "b").await.as_deref(), Some("again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_is_of_one_moment_while_writes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let custody = on_disk(directory.path()).await;
    let barrier = custody.barrier();
    for number in 0..2000u64 {
        put_entry(&barrier, &format!("entry/{number}"), &number.to_le_bytes()).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let (barrier, done) = (barrier.clone(), done.clone());
            tokio::spawn(async move {
                // Changes, removals and entries that come back, all over the store.
                for number in (writer..).step_by(4) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let at = format!("entry/{}", number * 37 % 2500);
                    match number % 3 {
                        0 => delete_entry(&barrier, &at).await,
                        _ => put_entry(&barrier, &at, &number.to_le_bytes()).await,
                    }
                }
            })
        })
        .collect();
    let mut snapshots = Vec::new();
    for _ in 0..5 {
        snapshots.push(snapshot(&custody).await);
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    for bytes in snapshots {
        let restored = Custody::open_sealed(&Location::InMemory).await.unwrap();
        restored.restore(&mut bytes.as_slice(), Target::Empty).await.unwrap();
        // Unsealing adds everything up: an entry too many, too few or too old would be found.
        restored.unseal_with(&key(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_moves_a_store_to_postgresql() {
    let custody = Custody::open(&Location::InMemory, key(1)).await.unwrap();
    for number in 0..300 {
        put(&custody, &format!("a/{number}"), &format!("value {number}")).await;
    }
    let bytes = snapshot(&custody).await;
    let server = ScratchPostgres::start();
    let location = Location::Postgres(server.new_database());
    let there = Custody::open(&location, key(2)).await.unwrap();
    put(&there, "a/0", "another").await;
    there.restore(&mut bytes.as_slice(), Target::Anything).await.unwrap();
    there.unseal_with(&key(1)).await.unwrap();
    assert_eq!(get(&there, "a/0").await.as_deref(), Some("value 0"));
    put(&there, "a/1", "changed").await;
    let back = snapshot(&there).await;
    let again = Custody::open_sealed(&Location::InMemory).await.unwrap();
    again.restore(&mut back.as_slice(), Target::Empty).await.unwrap();
    again.unseal_with(&key(1)).await.unwrap();
    assert_eq!(get(&again, "a/1").await.as_deref(), Some("changed"));
    assert!(matches!(Custody::open(&location, key(2)).await, Err(OpenError::Unseal(UnsealError::WrongKey { .. }))));
}
