//! Opening, closing, and what an operator sees.

use mainstay_dataplane::{DataPlane, Delete, Deletion, IngestError, Inventory, Owner, ServeError, Trouble, Verify};
use mainstay_dataplane_fs::{FsConfig, FsPlane, OpenError};

use crate::{all, delete, ingest, noise, open, plain, read, source};

#[tokio::test]
async fn a_closed_store_says_so_and_another_process_may_open_it() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), FsConfig::default()).await;
    let content = noise(1, 5000);
    let receipt = ingest(&plane, &content).await;
    assert!(matches!(
        FsPlane::open(directory.path(), FsConfig::default()).await,
        Err(OpenError::InUse(path)) if path == directory.path()
    ));
    plane.close().await;
    plane.close().await;

    let closed = |trouble: &Trouble| trouble.to_string().contains("closed");
    let ingested = plane.ingest_stream(source(&content), plain()).await;
    assert!(matches!(ingested, Err(IngestError::Trouble(trouble)) if closed(&trouble)));
    assert!(matches!(read(&plane, receipt.address, None).await, Err(ServeError::Trouble(trouble)) if closed(&trouble)));
    assert!(plane.verify_object(Verify { address: receipt.address, key: None }).await.is_err());
    let request = Delete { owner: Owner::Objects, address: receipt.address, claim: receipt.claim };
    assert!(plane.delete_object(request).await.is_err());
    assert!(plane.contents(Owner::Objects, None, 1).await.is_err());
    assert!(plane.reclaim().await.is_err());
    assert!(plane.backend_health().await.trouble.is_some());

    let plane = open(directory.path(), FsConfig::default()).await;
    assert_eq!(read(&plane, receipt.address, None).await.unwrap(), content);
    let health = plane.backend_health().await;
    assert_eq!((health.backend.as_str(), health.contents, health.trouble), ("seed-fs", 1, None));
    assert!(health.stored_bytes >= 5000 && health.free_bytes.unwrap() > 0);
    plane.close().await;
}

#[tokio::test]
async fn claims_are_never_given_twice_even_when_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..4 {
        let plane = open(directory.path(), FsConfig::default()).await;
        let receipt = ingest(&plane, &noise(1, 100)).await;
        assert!(last < Some(receipt.claim), "round {round}: {last:?} was given before {:?}", receipt.claim);
        if let Some(last) = last {
            assert_eq!(delete(&plane, Owner::Objects, receipt.address, last).await, Deletion::Superseded);
        }
        last = Some(receipt.claim);
        assert_eq!(delete(&plane, Owner::Objects, receipt.address, receipt.claim).await, Deletion::Deleted);
        plane.reclaim().await.unwrap();
        assert_eq!(all(&plane, Owner::Objects).await, []);
        plane.close().await;
        if round % 2 == 0 {
            std::fs::remove_file(directory.path().join("index.redb")).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_no_store_is_not_made_one() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("holiday.jpg"), b"sea").unwrap();
    let error = FsPlane::open(directory.path(), FsConfig::default()).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("format"), "mainstay seed-fs 9\n").unwrap();
    let error = FsPlane::open(directory.path(), FsConfig::default()).await.map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Format { found, .. } if found.contains('9')), "{error}");
}
