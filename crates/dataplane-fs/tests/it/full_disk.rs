//! A disk that is full: a small file system in memory, mounted for one test.

use std::path::Path;

use mainstay_dataplane::{DataPlane, IngestError, Inventory, Owner, Receipt, Trouble, Verify};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{delete, empties, eventually, files, ingest, noise, open, plain, source};

struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

fn small_disk(path: &Path) -> Option<SmallDisk<'_>> {
    match mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"size=24M") {
        Ok(()) => Some(SmallDisk(path)),
        Err(error) => {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here ({error}); run this test as root");
            None
        }
    }
}

fn config() -> FsConfig {
    FsConfig { small_up_to: 100_000, pack_len: 2 << 20, checkpoint_after: 100, reserved: 0, ..FsConfig::default() }
}

/// Ingests until there is no room.
async fn fill(plane: &FsPlane, len: usize, seeds: &mut impl Iterator<Item = u64>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    loop {
        match plane.ingest_stream(source(&noise(seeds.next().unwrap(), len)), plain()).await {
            Ok(receipt) => receipts.push(receipt),
            Err(IngestError::Trouble(Trouble::Full { .. })) => return receipts,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn whole(plane: &FsPlane, receipts: &[Receipt]) {
    for receipt in receipts {
        plane.verify_object(Verify { address: receipt.address, key: None }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_comes_keeps_what_is_there_and_lets_delete() {
    let path = tempfile::tempdir().unwrap();
    let Some(disk) = small_disk(path.path()) else { return };
    let directory = disk.0.join("store");
    let plane = open(&directory, config()).await;
    let mut seeds = 1..;
    for round in 0..3 {
        // Small content up to the brim, then large, then what would be tiny.
        let small = fill(&plane, 4096, &mut seeds).await;
        assert!(small.len() > 500, "round {round}: {}", small.len());
        assert_eq!(fill(&plane, 900_000, &mut seeds).await, []);
        assert_eq!(files(&directory, "incoming").len() + files(&directory, "files").len(), 0);
        whole(&plane, &small).await;

        // Most is deleted while the disk is full, and the room comes back.
        let (gone, kept) = small.split_at(small.len() * 4 / 5);
        for receipt in gone {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
        eventually("there is room again", async || {
            plane.reclaim().await.unwrap();
            plane.backend_health().await.free_bytes.unwrap() > 8_000_000
        })
        .await;
        let large = ingest(&plane, &noise(seeds.next().unwrap(), 5_000_000)).await;
        whole(&plane, kept).await;
        whole(&plane, std::slice::from_ref(&large)).await;
        delete(&plane, Owner::Objects, large.address, large.claim).await;
        for receipt in kept {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
        plane.reclaim().await.unwrap();
    }
    empties(&directory, &plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_on_a_full_disk_and_goes_on_when_there_is_room() {
    let path = tempfile::tempdir().unwrap();
    let Some(disk) = small_disk(path.path()) else { return };
    let directory = disk.0.join("store");
    let plane = open(&directory, config()).await;
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let mut seeds = 1..;
    let receipts = fill(&plane, 20_000, &mut seeds).await;
    plane.close().await;

    let plane = open(&directory, config()).await;
    whole(&plane, &receipts).await;
    let claimed = fill(&plane, 20_000, &mut seeds).await;
    std::fs::remove_file(&ballast).unwrap();
    ingest(&plane, &noise(999_999, 20_000)).await;
    ingest(&plane, &noise(999_998, 2_000_000)).await;
    whole(&plane, &receipts).await;
    whole(&plane, &claimed).await;
    plane.close().await;
    std::fs::remove_file(directory.join("index.redb")).unwrap();
    let plane = open(&directory, config()).await;
    whole(&plane, &receipts).await;
    assert_eq!(plane.backend_health().await.contents, (receipts.len() + claimed.len()) as u64 + 2);
    empties(&directory, &plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_leaves_room_for_others() {
    const RESERVED: u64 = 12 << 20;
    /// What a pack allocates ahead, and the pieces of large content that are on their way.
    const ON_THE_WAY: u64 = 9 << 20;
    let path = tempfile::tempdir().unwrap();
    let Some(disk) = small_disk(path.path()) else { return };
    let plane = open(&disk.0.join("store"), FsConfig { reserved: RESERVED, ..config() }).await;
    let mut seeds = 1..;
    for len in [3_000_000, 50_000, 1] {
        let kept = fill(&plane, len, &mut seeds).await;
        let free = plane.backend_health().await.free_bytes.unwrap();
        assert!(free > RESERVED - ON_THE_WAY, "{free} bytes are left after {} contents of {len}", kept.len());
        whole(&plane, &kept).await;
    }
    let error = plane.ingest_stream(source(&noise(1, 0)), plain()).await.unwrap_err();
    assert!(error.to_string().contains("12582912 are kept"), "{error}");
}
