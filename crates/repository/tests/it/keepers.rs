//! One layer keeps a repository; what others did to it, or that it is not there, is found out and told from damage.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_dataplane::{DataPlane, Delete, Deletion, IngestError, Inventory, Owner, ServeError, Trouble};
use mainstay_repository::{Contender, Credentials, KeepError, MirrorError, Repository, VerifyOptions};
use uuid::Uuid;

use crate::{files, gives, hints, ingest, noise, open, read, source};

const DOCUMENT: Bytes = Bytes::from_static(b"text");

/// How long a disk may take to write a small file.
const PATIENCE: Duration = Duration::from_secs(20);

fn layers() -> (Uuid, Uuid) {
    (Uuid::from_u128(1), Uuid::from_u128(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_layer_keeps_it_until_another_takes_it_over() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = layers();
    let old = open(directory.path()).await;
    old.keep_for(first, &mut Contender::new()).await.unwrap();
    let receipt = ingest(&old, &noise(1, 300_000)).await;
    old.put_document("points", "a", DOCUMENT).await.unwrap();

    let new = open(directory.path()).await;
    let refused = new.keep_for(second, &mut Contender::new()).await.unwrap_err();
    assert!(matches!(&refused, KeepError::Another(keeper) if keeper.layer == first), "{refused}");
    assert!(!old.is_outdated());
    new.take_over_for(second, &mut Contender::new()).await.unwrap();

    let wrote = old.ingest_stream(source(&noise(2, 1000)), hints()).await.unwrap_err();
    assert!(
        matches!(&wrote, IngestError::Trouble(trouble) if trouble.to_string().contains("another layer")),
        "{wrote}"
    );
    assert!(old.is_outdated());
    assert!(old.put_document("points", "b", DOCUMENT).await.is_err());
    assert!(old.remove_document("points", "a").await.is_err());
    assert!(old.reclaim().await.is_err());
    let request = Delete { owner: Owner::Backups, address: receipt.address, claim: receipt.claim };
    assert!(old.delete_object(request.clone()).await.is_err());
    gives(&old, &noise(1, 300_000)).await;
    let again = open(directory.path()).await.keep_for(first, &mut Contender::new()).await;
    assert!(again.is_err(), "it does not come back by itself");

    old.close().await.unwrap();
    ingest(&new, &noise(3, 1000)).await;
    assert_eq!(new.delete_object(request).await, Ok(Deletion::Deleted));
    new.reclaim().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_tell_who_keeps_it_it_can_be_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let (layer, _) = layers();
    let repository = open(directory.path()).await;
    repository.keep_for(layer, &mut Contender::new()).await.unwrap();
    std::fs::write(directory.path().join("mainstay-keeper.json"), "").unwrap();
    let refused = repository.put_document("points", "a", DOCUMENT).await.unwrap_err().to_string();
    assert!(refused.contains("mainstay repository take-over"), "{refused}");
    assert!(open(directory.path()).await.keep_for(layer, &mut Contender::new()).await.is_err());
    let other = open(directory.path()).await;
    other.take_over_for(layer, &mut Contender::new()).await.unwrap();
    other.put_document("points", "a", DOCUMENT).await.unwrap();
    assert!(repository.put_document("points", "b", DOCUMENT).await.is_err(), "it began before");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_one_data_directory_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (layer, _) = layers();
    let mut first = Contender::new();
    let one = open(directory.path()).await;
    one.keep_for(layer, &mut first).await.unwrap();
    let other = open(directory.path()).await;
    other.keep_for(layer, &mut Contender::new()).await.unwrap();
    assert!(one.put_document("points", "a", DOCUMENT).await.is_err());
    let again = open(directory.path()).await;
    assert!(
        again.keep_for(layer, &mut first).await.is_err(),
        "the one that was there first does not begin anew by itself"
    );
    other.put_document("points", "a", DOCUMENT).await.unwrap();
}

/// Both begin, and one of them goes on.
pub async fn one_of_two_that_begin_at_once_keeps_it(one: &Repository, other: &Repository) {
    let (layer, _) = layers();
    let (mut first, mut second) = (Contender::new(), Contender::new());
    let begun = tokio::join!(one.keep_for(layer, &mut first), other.keep_for(layer, &mut second));
    // Each may have come so late that it saw the other, which began as one does after a restart.
    assert!(matches!(begun, (Ok(()), Ok(()))), "{begun:?}");
    let wrote = [one.put_document("points", "a", DOCUMENT).await, other.put_document("points", "a", DOCUMENT).await];
    let refused: Vec<_> = wrote.into_iter().filter_map(Result::err).collect();
    let [refused] = &refused[..] else { panic!("one writes, and one is refused: {refused:?}") };
    assert!(refused.to_string().contains("kept by another layer"), "{refused}");
    assert_ne!(one.is_outdated(), other.is_outdated());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_begin_at_the_same_moment_one_keeps_it() {
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()).await, open(directory.path()).await);
        one_of_two_that_begin_at_once_keeps_it(&one, &other).await;
    }
}

/// Begins to keep a repository, and does not hear that it was written.
fn begin_unheard(repository: &Repository, contender: &mut Contender, directory: &Path) {
    let file = directory.join("mainstay-keeper.json");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = std::fs::read(&file).ok();
        let mut keeping = pin!(repository.keep_for(layers().0, contender));
        // It is not asked any more once the file is there, so that it cannot find that out.
        while keeping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            if std::fs::read(&file).ok() != before {
                return;
            }
            assert!(Instant::now() < deadline, "nothing is written");
            std::thread::yield_now();
        }
        assert!(Instant::now() < deadline, "it hears it each time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_told_that_it_keeps_it_knows_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let mut contender = Contender::new();
    let repository = open(directory.path()).await;
    // At its start, and where it opened the repository anew.
    for _ in 0..2 {
        begin_unheard(&repository, &mut contender, directory.path());
        repository.keep_for(layers().0, &mut contender).await.unwrap();
        repository.put_document("points", "a", DOCUMENT).await.unwrap();
    }
    begin_unheard(&repository, &mut contender, directory.path());
    let other = open(directory.path()).await;
    other.keep_for(layers().0, &mut Contender::new()).await.unwrap();
    assert!(repository.keep_for(layers().0, &mut contender).await.is_err(), "the other one came after it");
    other.put_document("points", "a", DOCUMENT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_of_before_there_were_processes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (layer, another) = layers();
    let file = directory.path().join("mainstay-keeper.json");
    let repository = open(directory.path()).await;
    std::fs::write(&file, format!(r#"{{"version":1,"layer":"{layer}","epoch":7,"host":"h","since":"t"}}"#)).unwrap();
    let refused = repository.keep_for(another, &mut Contender::new()).await.unwrap_err();
    assert!(matches!(&refused, KeepError::Another(keeper) if keeper.epoch == 7), "{refused}");
    repository.keep_for(layer, &mut Contender::new()).await.unwrap();
    repository.put_document("points", "a", DOCUMENT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_moved_is_not_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path()).await;
    let gone = ingest(&writer, &noise(1, 3_000_000)).await;
    ingest(&writer, &noise(2, 1_000_000)).await;
    let reader = open(directory.path()).await;
    let request = Delete { owner: Owner::Backups, address: gone.address, claim: gone.claim };
    assert_eq!(writer.delete_object(request).await, Ok(Deletion::Deleted));
    assert!(writer.reclaim().await.unwrap() > 0);

    let error = read(&reader, gone.address).await.unwrap_err();
    assert!(matches!(error, ServeError::Trouble(Trouble::Unavailable { .. })), "{error}");
    assert!(reader.is_outdated());
    assert!(reader.verify(VerifyOptions::default(), |_| ()).await.is_err());
    gives(&open(directory.path()).await, &noise(2, 1_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_away_is_not_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (mounted, aside) = (directory.path().join("repository"), directory.path().join("aside"));
    let repository = open(&mounted).await;
    repository.keep_for(layers().0, &mut Contender::new()).await.unwrap();
    let receipt = ingest(&repository, &noise(1, 300_000)).await;
    repository.put_document("points", "a", DOCUMENT).await.unwrap();
    std::fs::rename(&mounted, &aside).unwrap();
    std::fs::create_dir(&mounted).unwrap();

    assert!(repository.documents("points").await.is_err(), "whoever sweeps must not think that there are none");
    assert!(repository.document("points", "a").await.is_err());
    assert!(repository.put_document("points", "b", DOCUMENT).await.is_err());
    let request = Delete { owner: Owner::Backups, address: receipt.address, claim: receipt.claim };
    assert!(repository.delete_object(request).await.is_err());
    assert!(repository.reclaim().await.is_err());
    assert!(matches!(read(&repository, receipt.address).await, Err(ServeError::Trouble(_))));
    assert!(repository.is_outdated());
    assert_eq!(files(&mounted, "").len(), 0, "nothing is written where the disk should be");
    std::fs::remove_dir(&mounted).unwrap();
    std::fs::rename(&aside, &mounted).unwrap();
    gives(&open(&mounted).await, &noise(1, 300_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_layer_has_gone_on_with_is_left_alone() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = there.path().to_str().unwrap().parse().unwrap();
    let repository = open(here.path()).await;
    repository.keep_for(layers().0, &mut Contender::new()).await.unwrap();
    ingest(&repository, &noise(1, 300_000)).await;
    repository.mirror(&copy, &Credentials::None, |_| ()).await.unwrap();
    let recovered = open(there.path()).await;
    recovered.keep_for(layers().1, &mut Contender::new()).await.unwrap();
    recovered.put_document("points", "a", DOCUMENT).await.unwrap();
    let refused = repository.mirror(&copy, &Credentials::None, |_| ()).await.unwrap_err();
    assert!(matches!(refused, MirrorError::Kept { .. }), "{refused}");
    assert_eq!(recovered.documents("points").await.unwrap(), ["a"]);
}
