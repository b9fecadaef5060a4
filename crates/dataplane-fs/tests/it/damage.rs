//! One flipped bit anywhere: nothing but what was stored is ever served, and verifying finds it.

use std::collections::BTreeMap;
use std::path::Path;

use mainstay_dataplane::{Address, DataPlane, Hints, IngestError, Inventory, Owner, ServeError, Trouble, Verify};
use mainstay_dataplane_fs::FsConfig;

use crate::{all, busy, delete, file_of, files, flip, ingest, key, noise, open, plain, read, record_of, source};

/// Contents in records, and one in a file.
const LENGTHS: [usize; 5] = [1, 700, 5000, 39_000, 200_000];

fn quiet() -> FsConfig {
    FsConfig { small_up_to: 40_000, ..FsConfig::default() }
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    let content = noise(1, 700);
    let address = ingest(&plane, &content).await.address;
    plane.close().await;
    let record = record_of(directory.path(), &address).unwrap();
    // Every byte of the prefix, the note and the header; some of the content.
    for at in (record.at..record.end - 690).chain((record.end - 690..record.end).step_by(97)) {
        flip(&record.pack, at);
        let plane = open(directory.path(), quiet()).await;
        let verified = plane.verify_object(Verify { address, key: None }).await;
        assert!(matches!(verified, Err(ServeError::Damaged { .. })), "byte {}: {verified:?}", at - record.at);
        match read(&plane, address, None).await {
            // What is flipped is not needed for reading.
            Ok(read) => assert!(read == content, "byte {} makes other content", at - record.at),
            Err(error) => assert!(matches!(error, ServeError::Damaged { .. }), "{error:?}"),
        }
        plane.close().await;
        flip(&record.pack, at);
    }
    let plane = open(directory.path(), quiet()).await;
    plane.verify_object(Verify { address, key: None }).await.unwrap();
    plane.close().await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_file_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    let content = noise(1, 200_000);
    let address = ingest(&plane, &content).await.address;
    let path = file_of(directory.path(), &address).unwrap();
    let len = path.metadata().unwrap().len() as usize;
    for at in (0..200_000).step_by(10_007).chain(200_000..len) {
        flip(&path, at);
        // A header that was read before is remembered, for reading but not for verifying.
        let verified = plane.verify_object(Verify { address, key: None }).await;
        assert!(matches!(verified, Err(ServeError::Damaged { .. })), "byte {at} of {len}: {verified:?}");
        match read(&plane, address, None).await {
            Ok(read) => assert!(read == content, "byte {at} makes other content"),
            Err(error) => assert!(matches!(error, ServeError::Damaged { .. }), "{error:?}"),
        }
        flip(&path, at);
    }
    std::fs::remove_file(path).unwrap();
    let missing = read(&plane, address, None).await;
    assert!(matches!(missing, Err(ServeError::Damaged { .. })), "{missing:?}");
    plane.close().await;
}

#[tokio::test]
async fn what_is_damaged_is_stored_anew_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    for len in LENGTHS {
        let content = noise(1, len);
        let address = ingest(&plane, &content).await.address;
        match file_of(directory.path(), &address) {
            Some(path) => flip(&path, len / 2),
            None => {
                let record = record_of(directory.path(), &address).unwrap();
                flip(&record.pack, record.end - len / 2 - 1);
            }
        }
        assert!(plane.verify_object(Verify { address, key: None }).await.is_err());
        let again = ingest(&plane, &content).await;
        assert!(!again.known);
        plane.verify_object(Verify { address, key: None }).await.unwrap();
        assert!(read(&plane, address, None).await.unwrap() == content);
        assert!(ingest(&plane, &content).await.known);
    }
    assert_eq!(plane.backend_health().await.contents, LENGTHS.len() as u64);
    plane.close().await;
}

/// A scrub names what is damaged; whoever brings it back may have restarted first.
#[tokio::test]
async fn what_is_damaged_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    let contents = [noise(1, 700), noise(2, 700), noise(3, 200_000)];
    for content in &contents {
        let address = ingest(&plane, content).await.address;
        match file_of(directory.path(), &address) {
            Some(path) => flip(&path, 5),
            None => {
                let record = record_of(directory.path(), &address).unwrap();
                flip(&record.pack, record.end - 5);
            }
        }
        assert!(plane.verify_object(Verify { address, key: None }).await.is_err());
    }
    plane.close().await;
    for content in contents {
        let plane = open(directory.path(), quiet()).await;
        assert!(!ingest(&plane, &content).await.known);
        assert!(read(&plane, Address::of(&content), None).await.unwrap() == content);
        plane.close().await;
        let plane = open(directory.path(), quiet()).await;
        assert!(ingest(&plane, &content).await.known, "it is forgotten when it is stored anew");
        plane.close().await;
    }
}

/// Who stores it again wants it to be there, and is told where it cannot be.
#[tokio::test]
async fn what_is_encrypted_and_damaged_is_never_claimed_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    let sealed = || Hints { key: Some(key()), ..plain() };
    for len in LENGTHS {
        let content = noise(1, len);
        let address = plane.ingest_stream(source(&content), sealed()).await.unwrap().address;
        match file_of(directory.path(), &address) {
            Some(path) => flip(&path, len / 2),
            None => {
                let record = record_of(directory.path(), &address).unwrap();
                flip(&record.pack, record.end - len / 2 - 1);
            }
        }
        // Reading finds it too, and not only verifying.
        let found = read(&plane, address, Some(key())).await;
        assert!(matches!(found, Err(ServeError::Damaged { .. })), "{len} bytes: {found:?}");
        let refused = plane.ingest_stream(source(&content), plain()).await;
        assert!(matches!(refused, Err(IngestError::Trouble(Trouble::Unavailable { .. }))), "{len} bytes: {refused:?}");
        let again = plane.ingest_stream(source(&content), sealed()).await.unwrap();
        assert!(!again.known, "{len} bytes");
        assert!(read(&plane, address, Some(key())).await.unwrap() == content);
        // It is whole, and claimed whoever brings it.
        assert!(ingest(&plane, &content).await.known);
    }
    plane.close().await;
}

/// With whatever damage, a store opens, serves nothing wrong, keeps what is not damaged, and takes in more.
#[tokio::test]
async fn a_pack_with_a_flipped_bit_costs_no_more_than_what_is_there() {
    for at in [3, 20, 600, 1024, 1030, 1045, 1060, 1100, 1200, 9000, 50_000] {
        for without_index in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let contents = fill(directory.path()).await;
            let first = files(directory.path(), "packs").remove(0);
            flip(&first, at);
            if without_index {
                std::fs::remove_file(directory.path().join("index.redb")).unwrap();
            }
            let plane = open(directory.path(), busy()).await;
            let mut lost = 0;
            for (address, content) in &contents {
                match read(&plane, *address, None).await {
                    Ok(read) => assert!(read == *content, "byte {at} makes other content"),
                    Err(ServeError::Damaged { .. } | ServeError::Absent(_)) => lost += 1,
                    Err(error) => panic!("byte {at}: {error}"),
                }
            }
            assert!(lost <= 1, "byte {at}: {lost} contents are lost");
            for (address, content) in &contents {
                assert_eq!(plane.ingest_stream(source(content), plain()).await.unwrap().address, *address);
                let found = plane.verify_object(Verify { address: *address, key: None }).await;
                assert!(matches!(found, Ok(_) | Err(ServeError::Damaged { .. })), "{found:?}");
                plane.ingest_stream(source(content), plain()).await.unwrap();
                plane.verify_object(Verify { address: *address, key: None }).await.unwrap();
            }
            // A pack with something in it that is needed and cannot be read stays; the others are tidied.
            plane.reclaim().await.unwrap();
            for stored in all(&plane, Owner::Objects).await {
                delete(&plane, Owner::Objects, stored.address, stored.claim).await;
            }
            plane.reclaim().await.unwrap();
            assert_eq!(plane.backend_health().await.contents, 0);
            plane.close().await;
        }
    }
}

/// What looks like a record within content is not taken for one, even where the pack around it is damaged.
#[tokio::test]
async fn content_that_looks_like_a_pack_is_content() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), quiet()).await;
    let victim = noise(5, 900);
    let receipt = ingest(&plane, &victim).await;
    let pack = std::fs::read(files(directory.path(), "packs").remove(0)).unwrap();
    let forged = bytes::Bytes::from(pack[..8000].to_vec());
    let carrier = plane.ingest_stream(source(&forged), Hints::plain(Owner::Backups)).await.unwrap();
    delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
    plane.close().await;
    let record = record_of(directory.path(), &carrier.address).unwrap();
    flip(&record.pack, record.at + 4);
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    let plane = open(directory.path(), quiet()).await;
    assert_eq!(read(&plane, receipt.address, None).await, Err(ServeError::Absent(receipt.address)));
    assert_eq!(plane.backend_health().await.contents, 0);
    plane.close().await;
}

async fn fill(directory: &Path) -> BTreeMap<Address, bytes::Bytes> {
    let plane = open(directory, busy()).await;
    let mut contents = BTreeMap::new();
    for seed in 0..60 {
        let content = noise(seed + 1, LENGTHS[seed as usize % 4] + seed as usize);
        contents.insert(ingest(&plane, &content).await.address, content);
    }
    plane.close().await;
    contents
}
