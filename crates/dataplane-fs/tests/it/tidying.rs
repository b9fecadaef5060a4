//! Packs are tidied: with readers and writers beside, by request and by themselves.

use futures::StreamExt;
use mainstay_dataplane::{Body, DataPlane, Inventory, Owner, Serve, Verify};
use mainstay_dataplane_fs::FsConfig;

use crate::{all, busy, delete, empties, eventually, files, ingest, noise, open, read};

/// Of all packs but the newest, which has room in advance.
fn pack_bytes(directory: &std::path::Path) -> u64 {
    let packs = files(directory, "packs");
    packs[..packs.len() - 1].iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn reclaiming_gives_back_room_and_disturbs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), FsConfig { tidy: false, ..busy() }).await;
    let mut kept = Vec::new();
    for seed in 0..400u64 {
        let content = noise(seed + 1, 2000 + seed as usize);
        let receipt = ingest(&plane, &content).await;
        if seed.is_multiple_of(4) {
            kept.push((receipt.address, content));
        } else {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
    }
    let live: u64 = kept.iter().map(|(_, content)| content.len() as u64).sum();
    assert!(pack_bytes(directory.path()) > 3 * live);
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (plane, kept) = (plane.clone(), kept.clone());
            tokio::spawn(async move {
                for round in 0..20 {
                    for (address, content) in kept.iter().skip((reader + round) % 4) {
                        assert!(read(&plane, *address, None).await.unwrap() == *content);
                    }
                }
            })
        })
        .collect();
    let writer = tokio::spawn({
        let plane = plane.clone();
        async move {
            for seed in 10_000..10_200 {
                let receipt = ingest(&plane, &noise(seed, 3000)).await;
                delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
            }
        }
    });
    let freed = plane.reclaim().await.unwrap();
    assert!(freed > 2 * live, "{freed} bytes were given back where {live} are live");
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    plane.reclaim().await.unwrap();
    assert_eq!(plane.reclaim().await.unwrap(), 0, "nothing is left to give back");
    plane.close().await;
    let bytes = pack_bytes(directory.path());
    // A quarter of each pack may be dead, and an eighth of all be graves.
    assert!(bytes < live + live / 2, "{bytes} bytes are in packs where {live} are live");

    let plane = open(directory.path(), busy()).await;
    assert_eq!(all(&plane, Owner::Objects).await.len(), kept.len());
    for (address, _) in &kept {
        plane.verify_object(Verify { address: *address, key: None }).await.unwrap();
    }
    empties(directory.path(), &plane).await;
}

#[tokio::test]
async fn packs_that_are_hardly_dead_are_not_copied_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), FsConfig { tidy: false, ..busy() }).await;
    let mut receipts = Vec::new();
    for seed in 0..200 {
        receipts.push(ingest(&plane, &noise(seed + 1, 5000)).await);
    }
    // One in ten is gone from every pack, then four in ten.
    let delete_each = async |which: fn(usize) -> bool| {
        for (_, receipt) in receipts.iter().enumerate().filter(|(number, _)| which(number % 10)) {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
        plane.reclaim().await.unwrap()
    };
    assert_eq!(delete_each(|digit| digit == 0).await, 0);
    let freed = delete_each(|digit| (1..4).contains(&digit)).await;
    assert!((300_000..450_000).contains(&freed), "{freed} bytes came back of 400,000");
    for (_, receipt) in receipts.iter().enumerate().filter(|(number, _)| number % 10 >= 4) {
        plane.verify_object(Verify { address: receipt.address, key: None }).await.unwrap();
    }
    empties(directory.path(), &plane).await;
}

#[tokio::test]
async fn packs_that_are_mostly_dead_go_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), busy()).await;
    for seed in 0..400 {
        let receipt = ingest(&plane, &noise(seed + 1, 5000)).await;
        if !seed.is_multiple_of(10) {
            delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        }
    }
    // 200 kB are live of 2 MB; each pack may be half dead, and the newest ones are not looked at yet.
    eventually("dead packs go", async || pack_bytes(directory.path()) < 1_300_000).await;
    assert_eq!(all(&plane, Owner::Objects).await.len(), 40);
    empties(directory.path(), &plane).await;
}

#[tokio::test]
async fn a_stream_outlives_the_file_and_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), FsConfig { small_up_to: 2 << 20, ..FsConfig::default() }).await;
    for len in [1_500_000, 4_000_000] {
        let content = noise(1, len);
        let receipt = ingest(&plane, &content).await;
        let served = plane.serve_object(Serve { address: receipt.address, range: None, key: None }).await.unwrap();
        let Body::Stream(mut stream) = served.body else { panic!("{len} bytes should be a stream") };
        let mut read = stream.next().await.unwrap().unwrap().to_vec();
        delete(&plane, Owner::Objects, receipt.address, receipt.claim).await;
        plane.reclaim().await.unwrap();
        if len == 4_000_000 {
            plane.close().await;
            assert_eq!(files(directory.path(), "files").len(), 0);
        }
        while let Some(bytes) = stream.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert!(read == content);
    }
}
