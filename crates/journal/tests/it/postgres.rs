//! Two control planes on one PostgreSQL store, and a server that is killed.

use mainstay_journal::{Journal, SubmitError};
use mainstay_storage::Location;
use mainstay_storage::scratch::ScratchPostgres;

use crate::traffic::life;
use crate::{append, check_whole, open};

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_store_lose_nothing() {
    const CALLERS: u64 = 8;
    const ROUNDS: u64 = 10;
    let server = ScratchPostgres::start();
    let place = Location::Postgres(server.uri());
    let journals = [open(&place).await.unwrap(), open(&place).await.unwrap()];
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let journal: Journal = journals[caller as usize % 2].clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    // Every tenth life stays, so that each name is there in the end.
                    let events = life(10 * (caller * ROUNDS + round));
                    loop {
                        match append(&journal, events.clone()).await {
                            Ok(_) => break,
                            Err(SubmitError::Conflict { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let journal = open(&place).await.unwrap();
    assert_eq!(journal.view().sequence(), 8 * CALLERS * ROUNDS);
    assert_eq!(journal.view().instances().count() as u64, CALLERS * ROUNDS);
    check_whole(&journal).await;
    for (journal, number) in journals.iter().zip(1_000_000..) {
        append(journal, life(10 * number)).await.unwrap();
        check_whole(journal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_acknowledged_and_the_journal_goes_on() {
    let mut server = ScratchPostgres::start();
    let journal = open(&Location::Postgres(server.uri())).await.unwrap();
    let appending = tokio::spawn({
        let journal = journal.clone();
        async move {
            let mut acknowledged = 0;
            for number in 0.. {
                match append(&journal, life(10 * number)).await {
                    Ok(committed) => acknowledged = committed.sequence,
                    Err(error) => return (acknowledged, error),
                }
            }
            unreachable!("the server is killed")
        }
    });
    let mut views = journal.watch();
    while views.borrow_and_update().sequence() < 80 {
        views.changed().await.unwrap();
    }
    tokio::task::block_in_place(|| server.kill());
    let (acknowledged, error) = appending.await.unwrap();
    assert!(matches!(error, SubmitError::Unavailable(_) | SubmitError::OutcomeUnknown(_)), "{error:?}");
    // Where the commit was not confirmed, the next writing begins with a reading, which fails the same way.
    let again = append(&journal, life(10_000_000)).await;
    assert!(matches!(again, Err(SubmitError::Unavailable(_))), "{again:?}");
    assert!(journal.health().await.is_err());
    assert_eq!(journal.view().sequence(), acknowledged, "what was not acknowledged is not seen");

    tokio::task::block_in_place(|| server.restart());
    append(&journal, life(10_000_000)).await.unwrap();
    let newest = journal.view().sequence();
    assert!((acknowledged + 8..=acknowledged + 16).contains(&newest), "{acknowledged} {newest}");
    check_whole(&journal).await;
}
