//! What was recorded and is not there any more as it was: refused, with its place, and never skipped.

use mainstay_domain::event::Event;
use mainstay_journal::{Journal, MisfitReason, OpenError, ReadError};
use mainstay_storage::{Location, Statement, Store, Value};
use minicbor::bytes::ByteVec;

use crate::traffic::life;
use crate::{append, chain, check_whole, store};

const EVENTS: u64 = 24;

/// A journal of three lives that stayed, its store, and no snapshot.
async fn recorded() -> Store {
    let storage = store(&Location::InMemory).await;
    let journal = Journal::open(storage.clone()).await.unwrap();
    append(&journal, [0, 10, 20].into_iter().flat_map(life).collect()).await.unwrap();
    assert_eq!(journal.view().sequence(), EVENTS);
    storage
}

async fn change(storage: &Store, sql: &'static str, parameters: Vec<Value>) {
    storage.write(vec![Statement::new(sql, parameters)]).await.unwrap();
}

async fn body(storage: &Store, sequence: i64) -> Vec<u8> {
    let question = Statement::new("SELECT body FROM events WHERE sequence = $1", [sequence.into()]);
    storage.read(question).await.unwrap()[0].blob(0).unwrap().to_vec()
}

/// Opening and verifying both refuse the journal at the same event, and say why.
async fn check_refused(storage: &Store, sequence: u64, reason: &str) {
    let Err(error) = Journal::open(storage.clone()).await else { panic!("event {sequence} should be refused") };
    let OpenError::Misfit(misfit) = &error else { panic!("{error:?}") };
    assert_eq!(misfit.sequence, sequence, "{misfit:?}");
    assert!(chain(&error).contains(reason), "{}", chain(&error));
    assert!(chain(&error).contains("restore it from a backup"), "{}", chain(&error));
    let Err(ReadError::Misfit(verified)) = mainstay_journal::verify(storage, |_, _| {}).await else {
        panic!("verify should refuse event {sequence}")
    };
    assert_eq!(verified.sequence, sequence);
    assert!(mainstay_journal::replay(storage).await.is_err());
}

#[tokio::test]
async fn a_missing_event_is_named() {
    for sequence in [1, 2, 13, EVENTS - 1, EVENTS] {
        let storage = recorded().await;
        change(&storage, "DELETE FROM events WHERE sequence = $1", vec![(sequence as i64).into()]).await;
        check_refused(&storage, sequence, "it is missing").await;
    }
    let storage = recorded().await;
    change(&storage, "DELETE FROM events", vec![]).await;
    check_refused(&storage, 1, "it is missing").await;
}

#[tokio::test]
async fn any_flipped_bit_is_found() {
    let storage = recorded().await;
    for sequence in [1, 13, EVENTS as i64] {
        let whole = body(&storage, sequence).await;
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            let put = "UPDATE events SET body = $1 WHERE sequence = $2";
            change(&storage, put, vec![damaged.into(), sequence.into()]).await;
            let Err(ReadError::Misfit(misfit)) = mainstay_journal::verify(&storage, |_, _| {}).await else {
                panic!("a flipped bit in byte {place} of event {sequence} was not found")
            };
            // What an event says of itself is found with it; the rest is found by the event that follows it.
            assert!((sequence..=sequence + 1).contains(&(misfit.sequence as i64)), "{misfit:?} for event {sequence}");
            assert!(Journal::open(storage.clone()).await.is_err());
            change(&storage, put, vec![whole.clone().into(), sequence.into()]).await;
        }
    }
    check_whole(&Journal::open(storage).await.unwrap()).await;
}

/// Rewrites an event the way somebody would who knows the format.
async fn forge(storage: &Store, sequence: i64, forge: impl FnOnce(&mut Event)) {
    let mut event: Event = minicbor::decode(&body(storage, sequence).await).unwrap();
    forge(&mut event);
    let put = "UPDATE events SET body = $1 WHERE sequence = $2";
    change(storage, put, vec![event.encode().into(), sequence.into()]).await;
}

#[tokio::test]
async fn a_forged_event_is_found() {
    let storage = recorded().await;
    forge(&storage, 5, |event| event.sequence = 6).await;
    check_refused(&storage, 5, "it says that it is event 6").await;

    let storage = recorded().await;
    forge(&storage, 5, |event| event.payload = ByteVec::from(b"\x80".to_vec())).await;
    check_refused(&storage, 5, "its payload is not the one that it was recorded with").await;

    let storage = recorded().await;
    forge(&storage, 5, |event| event.actor = "t-000000000000".parse().unwrap()).await;
    check_refused(&storage, 6, "it does not follow the event before it").await;

    let storage = recorded().await;
    forge(&storage, EVENTS as i64, |event| event.actor = "t-000000000000".parse().unwrap()).await;
    check_refused(&storage, EVENTS, "it is not the last event that was acknowledged").await;

    // The same event, with its first number written in more bytes than it needs (RFC 8949, section 4.2.1).
    let storage = recorded().await;
    let mut longer = body(&storage, 5).await;
    assert_eq!(longer[1], 5);
    longer.splice(1..2, [0x18, 0x05]);
    change(&storage, "UPDATE events SET body = $1 WHERE sequence = 5", vec![longer.into()]).await;
    check_refused(&storage, 5, "it is not encoded canonically").await;
}

#[tokio::test]
async fn a_head_that_is_not_the_events_own_is_refused() {
    let storage = recorded().await;
    change(&storage, "UPDATE head SET sequence = 25", vec![]).await;
    check_refused(&storage, EVENTS + 1, "it is missing").await;
    let storage = recorded().await;
    change(&storage, "UPDATE head SET digest = zeroblob(32)", vec![]).await;
    check_refused(&storage, EVENTS, "it is not the last event that was acknowledged").await;
    let storage = recorded().await;
    change(&storage, "DELETE FROM head", vec![]).await;
    check_refused(&storage, 0, "the journal's head is missing").await;
}

#[tokio::test]
async fn events_beyond_the_head_were_never_acknowledged_and_go() {
    let storage = recorded().await;
    let event = minicbor::decode::<Event>(&body(&storage, 20).await).unwrap();
    change(
        &storage,
        "UPDATE head SET sequence = $1, digest = $2",
        vec![20i64.into(), event.digest().as_bytes().as_slice().into()],
    )
    .await;
    let journal = Journal::open(storage).await.unwrap();
    assert_eq!(journal.view().sequence(), 20);
    append(&journal, life(30)).await.unwrap();
    check_whole(&journal).await;
}

#[tokio::test]
async fn reading_refuses_what_it_can_not_vouch_for() {
    let storage = recorded().await;
    let journal = Journal::open(storage.clone()).await.unwrap();
    change(&storage, "UPDATE events SET body = x'ff' WHERE sequence = 9", vec![]).await;
    assert_eq!(journal.read(0, 8).await.unwrap().len(), 8);
    let Err(ReadError::Misfit(misfit)) = journal.read(0, 100).await else { panic!("event 9 is damaged") };
    assert!(misfit.sequence == 9 && matches!(misfit.reason, MisfitReason::Undecodable(_)));
    change(&storage, "DELETE FROM events WHERE sequence = 9", vec![]).await;
    let mut follower = journal.follow(0);
    let Err(ReadError::Misfit(misfit)) = follower.next().await else { panic!("event 9 is missing") };
    assert!(misfit.sequence == 9 && matches!(misfit.reason, MisfitReason::Missing));
}
