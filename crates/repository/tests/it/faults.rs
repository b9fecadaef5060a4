//! Flipped bits, missing files, a full disk.

use std::path::Path;

use bytes::Bytes;
use mainstay_dataplane::{Address, DataPlane, IngestError, Inventory, ServeError, Trouble};
use mainstay_repository::{Config, DocumentError, Report, VerifyOptions};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{config, files, flip, gives, hints, ingest, key, noise, open, read, source};

async fn report(directory: &Path) -> Report {
    open(directory).await.verify(VerifyOptions::default(), |_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_pack_is_named_and_healed() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    let (hurt, whole) = (noise(1, 3_000_000), noise(2, 3_000_000));
    ingest(&repository, &hurt).await;
    ingest(&repository, &whole).await;
    let (file, range) = repository.places_of(Address::of(&hurt)).await.swap_remove(5);
    drop(repository);
    flip(&directory.path().join(&file), range.start + 1000);

    let found = report(directory.path()).await;
    let [damage] = &found.damage[..] else { panic!("{found:#?}") };
    assert_eq!((&damage.file, &damage.contents), (&file, &vec![Address::of(&hurt)]));
    let repository = open(directory.path()).await;
    match read(&repository, Address::of(&hurt)).await.unwrap_err() {
        ServeError::Damaged { address, reason } => {
            assert_eq!(address, Address::of(&hurt));
            assert!(reason.contains(&file) && reason.contains(damage.chunk.as_ref().unwrap()), "{reason}");
        }
        error => panic!("{error}"),
    }
    gives(&repository, &whole).await;
    // What is known to be damaged is stored anew when it comes again.
    ingest(&repository, &hurt).await;
    gives(&repository, &hurt).await;
    drop(repository);
    gives(&open(directory.path()).await, &hurt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    let (hurt, whole) = (noise(1, 300_000), noise(2, 300_000));
    ingest(&repository, &hurt).await;
    ingest(&repository, &whole).await;
    let (file, _) = repository.places_of(Address::of(&hurt)).await.swap_remove(0);
    std::fs::remove_file(directory.path().join(&file)).unwrap();
    let found = report(directory.path()).await;
    let [damage] = &found.damage[..] else { panic!("{found:#?}") };
    assert_eq!((&damage.file, &damage.contents), (&file, &vec![Address::of(&hurt)]));
    assert!(matches!(read(&repository, Address::of(&hurt)).await, Err(ServeError::Damaged { .. })));
    gives(&repository, &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_an_index_record_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    let contents = [noise(1, 20_000_000), noise(2, 300_000)];
    for content in &contents {
        ingest(&repository, content).await;
    }
    drop(repository);
    let record = files(directory.path(), "index").remove(0);
    flip(&record, 100);
    let found = report(directory.path()).await;
    let [damage] = &found.damage[..] else { panic!("{found:#?}") };
    assert!(record.ends_with(&damage.file));
    assert_eq!(damage.contents, [Address::of(&contents[0])]);
    let repository = open(directory.path()).await;
    for content in &contents {
        gives(&repository, content).await;
    }
    // It is told anew, and the damaged record goes.
    ingest(&repository, &noise(3, 1000)).await;
    repository.reclaim().await.unwrap();
    drop(repository);
    assert!(report(directory.path()).await.is_whole());
    let repository = open(directory.path()).await;
    for content in &contents {
        gives(&repository, content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_document_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let repository = open(directory.path()).await;
    repository.put_document("points", "a", Bytes::from_static(b"text")).await.unwrap();
    flip(&directory.path().join("documents/points/a"), 30);
    let error = repository.document("points", "a").await.unwrap_err();
    assert!(matches!(error, DocumentError::Damaged { .. }), "{error}");
    let found = report(directory.path()).await;
    assert_eq!(found.damage[0].file, "documents/points/a");
    assert!(repository.remove_document("points", "a").await.unwrap());
}

pub struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

pub fn small_disk(path: &Path) -> Option<SmallDisk<'_>> {
    match mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"size=48M") {
        Ok(()) => Some(SmallDisk(path)),
        Err(error) => {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here ({error}); run this test as root");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_comes_and_lets_give_up() {
    let path = tempfile::tempdir().unwrap();
    let Some(disk) = small_disk(path.path()) else { return };
    let directory = disk.0.join("repository");
    let config = Config { reserved: 2 << 20, ..config(&directory) };
    let repository = mainstay_repository::Repository::create(config, &key()).await.unwrap();
    let mut seeds = 1..;
    for len in [5_000_000, 60_000_000] {
        let mut kept = Vec::new();
        let error = loop {
            match repository.ingest_stream(source(&noise(seeds.next().unwrap(), len)), hints()).await {
                Ok(receipt) => kept.push(receipt),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, IngestError::Trouble(Trouble::Full { .. })), "{error}");
        for receipt in &kept {
            let request = mainstay_dataplane::Verify { address: receipt.address, key: None };
            repository.verify_object(request).await.unwrap();
            let owner = hints().owner;
            let request = mainstay_dataplane::Delete { owner, address: receipt.address, claim: receipt.claim };
            repository.delete_object(request).await.unwrap();
        }
        repository.reclaim().await.unwrap();
        assert_eq!(files(&directory, "packs").len(), 0);
    }
    ingest(&repository, &noise(0, 30_000_000)).await;
}
