//! Snapshots save time and can be thrown away.

use mainstay_journal::Journal;
use mainstay_storage::{Location, Statement, Store};

use crate::traffic::life;
use crate::{append, bytes, check_whole, directory, open, store};

async fn count(storage: &Store) -> i64 {
    storage.read(Statement::new("SELECT count(*) FROM snapshots", [])).await.unwrap()[0].integer(0).unwrap()
}

#[tokio::test]
async fn two_are_kept_and_the_newest_is_used() {
    let path = tempfile::tempdir().unwrap();
    let place = directory(path.path());
    for round in 0..4 {
        let journal = open(&place).await.unwrap();
        append(&journal, life(10 * round)).await.unwrap();
        journal.close().await;
        let journal = open(&place).await.unwrap();
        journal.close().await;
    }
    let storage = store(&place).await;
    assert_eq!(count(&storage).await, 2);
    // Without its first events only a snapshot can open the journal.
    let gone = Statement::new("DELETE FROM events WHERE sequence <= 30", []).expect(30);
    storage.write(vec![gone]).await.unwrap();
    let journal = Journal::open(storage).await.unwrap();
    assert_eq!(journal.view().sequence(), 32);
    assert!(journal.verify(|_, _| {}).await.is_err());
}

#[tokio::test]
async fn one_that_can_not_be_used_is_passed_over() {
    for damage in [
        "UPDATE snapshots SET format = format + 1",
        "UPDATE snapshots SET body = x'80'",
        "UPDATE snapshots SET digest = x'00'",
        "UPDATE snapshots SET head = zeroblob(32)",
        "UPDATE snapshots SET sequence = sequence + 1000",
        "UPDATE snapshots SET sequence = sequence - 1",
    ] {
        let path = tempfile::tempdir().unwrap();
        let place = directory(path.path());
        let journal = open(&place).await.unwrap();
        append(&journal, life(0)).await.unwrap();
        let view = bytes(&journal.view());
        journal.close().await;
        let storage = store(&place).await;
        storage.write(vec![Statement::new(damage, []).expect(1)]).await.unwrap();
        let journal = Journal::open(storage).await.unwrap();
        assert_eq!(bytes(&journal.view()), view, "{damage}");
        append(&journal, life(10)).await.unwrap();
        check_whole(&journal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_taken_now_and_then_beside_the_appends() {
    let storage = store(&Location::InMemory).await;
    let journal = Journal::open(storage.clone()).await.unwrap();
    let mut lives = 0;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while count(&storage).await == 0 {
        append(&journal, (lives..lives + 200).flat_map(life).collect()).await.unwrap();
        lives += 200;
        assert!(std::time::Instant::now() < deadline, "no snapshot after {} events", journal.view().sequence());
    }
    let view = bytes(&journal.view());
    let again = Journal::open(storage).await.unwrap();
    assert_eq!(bytes(&again.view()), view);
}
