//! Submitting: order, group commit, refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_domain::event::{InstanceDeleted, NewEvent};
use mainstay_domain::view::View;
use mainstay_journal::SubmitError;
use mainstay_storage::{Statement, Value};
use mainstay_types::{InstanceId, Timestamp};

use crate::traffic::life;
use crate::{append, bytes, chain, check_whole, directory, in_memory, open, store};

#[tokio::test]
async fn events_are_numbered_chained_and_timed() {
    let journal = in_memory().await;
    let before = Timestamp::now();
    let recorded = life(0);
    let committed = append(&journal, recorded.clone()).await.unwrap();
    append(&journal, life(10)).await.unwrap();
    assert_eq!(committed.sequence, recorded.len() as u64);

    let events = journal.read(0, 1000).await.unwrap();
    assert_eq!(events.len(), 2 * recorded.len());
    for (event, sequence) in events.iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
        assert!(event.time >= before);
    }
    for pair in events.windows(2) {
        assert_eq!(pair[1].previous, pair[0].digest());
        assert!(pair[1].time >= pair[0].time);
    }
    for (event, new) in events.iter().zip(&recorded) {
        assert_eq!((&event.subject, event.body().unwrap()), (&new.subject, new.body.clone()));
    }
    assert_eq!(journal.read(3, 2).await.unwrap(), events[3..5]);
    assert!(journal.read(events.len() as u64, 10).await.unwrap().is_empty());
    check_whole(&journal).await;
}

#[tokio::test]
async fn each_decision_sees_what_was_decided_before() {
    let journal = in_memory().await;
    let submissions = (0..200).map(|number| {
        let journal = journal.clone();
        tokio::spawn(async move {
            // Ten callers want each instance, and one of them must get it.
            let events: Vec<NewEvent> = life(10 * (number % 20)).drain(..2).collect();
            let name = events[1].subject.id.clone();
            let decided = journal.submit(move |view, _| {
                let taken = view.instances().any(|instance| instance.name.as_str() == name);
                if taken { Err("taken") } else { Ok((events.clone(), ())) }
            });
            decided.await.is_ok()
        })
    });
    let submissions: Vec<_> = submissions.collect();
    let mut accepted = 0;
    for submission in submissions {
        accepted += usize::from(submission.await.unwrap());
    }
    assert_eq!(accepted, 20);
    assert_eq!(journal.view().sequence(), 40);
    check_whole(&journal).await;
}

#[tokio::test]
async fn a_refusal_records_nothing_and_the_others_go_on() {
    let journal = in_memory().await;
    append(&journal, life(0)).await.unwrap();
    let view = bytes(&journal.view());
    let refused = journal.submit(|_, _| Err::<(Vec<NewEvent>, ()), _>("no")).await;
    assert!(matches!(refused, Err(SubmitError::Rejected("no"))));
    let nothing = journal.submit(|view, _| Ok::<_, ()>((Vec::new(), view.sequence()))).await.unwrap();
    assert_eq!(nothing.answer, nothing.sequence);

    // A mistake of a decision: events of an instance that is not there.
    let deleted = InstanceDeleted { instance: InstanceId::from_random(9) };
    let stray = NewEvent { body: deleted.into(), ..life(1)[1].clone() };
    let mut events = life(2);
    events.push(stray);
    let inconsistent = append(&journal, events).await;
    assert!(matches!(inconsistent, Err(SubmitError::Inconsistent(_))), "{inconsistent:?}");
    assert_eq!(bytes(&journal.view()), view);
    append(&journal, life(2)).await.unwrap();
    check_whole(&journal).await;
}

#[tokio::test]
async fn a_decision_that_panics_stops_nobody_else() {
    let journal = in_memory().await;
    let panicking = |_: &View, _: Timestamp| -> Result<(Vec<NewEvent>, ()), String> { panic!("a mistake") };
    let (panicked, recorded) = tokio::join!(journal.submit(panicking), append(&journal, life(0)));
    assert!(matches!(panicked, Err(SubmitError::Panicked)), "{panicked:?}");
    recorded.unwrap();
    check_whole(&journal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_stored_together() {
    let directory_path = tempfile::tempdir().unwrap();
    let journal = open(&directory(directory_path.path())).await.unwrap();
    let decisions = Arc::new(AtomicUsize::new(0));
    let mut views = journal.watch();
    let submissions: Vec<_> = (0..500)
        .map(|number| {
            let (journal, decisions) = (journal.clone(), decisions.clone());
            tokio::spawn(async move {
                let events = life(10 * number);
                let submitted = journal.submit(move |_, _| {
                    decisions.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, ()>((events.clone(), ()))
                });
                let committed = submitted.await.unwrap();
                assert!(journal.view().sequence() >= committed.sequence, "the view is published before the answer");
            })
        })
        .collect();
    let mut published = 0;
    while views.borrow_and_update().sequence() < 500 * 8 {
        views.changed().await.unwrap();
        published += 1;
    }
    for submission in submissions {
        submission.await.unwrap();
    }
    assert_eq!(decisions.load(Ordering::Relaxed), 500, "without another writer each is decided once");
    assert!(published < 250, "{published} transactions for 500 submissions");
    check_whole(&journal).await;
}

#[tokio::test]
async fn a_closed_journal_has_everything_and_takes_no_more() {
    let path = tempfile::tempdir().unwrap();
    let place = directory(path.path());
    let journal = open(&place).await.unwrap();
    append(&journal, life(0)).await.unwrap();
    let view = bytes(&journal.view());
    let other = journal.clone();
    let mut views = other.watch();
    views.mark_unchanged();
    journal.close().await;
    assert!(matches!(append(&other, life(1)).await, Err(SubmitError::Closed)));
    assert!(views.changed().await.is_err(), "the views end with the journal");
    other.close().await;
    let journal = open(&place).await.unwrap();
    assert_eq!(bytes(&journal.view()), view);
    append(&journal, life(1)).await.unwrap();
    check_whole(&journal).await;
}

#[tokio::test]
async fn time_does_not_run_backwards() {
    let path = tempfile::tempdir().unwrap();
    let place = directory(path.path());
    let journal = open(&place).await.unwrap();
    append(&journal, life(0)).await.unwrap();
    let last = journal.view().time().unwrap();
    let decided = journal.submit(move |view, now| Ok::<_, ()>((Vec::new(), (view.time(), now)))).await.unwrap();
    let (view_time, now) = decided.answer;
    assert!(view_time == Some(last) && now >= last);
}

/// Puts a trigger into the store that refuses every insert of an event, as a full or broken storage would.
#[tokio::test]
async fn a_storage_failure_fails_the_whole_batch_and_leaves_no_trace() {
    let place = mainstay_storage::Location::InMemory;
    let storage = store(&place).await;
    let journal = mainstay_journal::Journal::open(storage.clone()).await.unwrap();
    append(&journal, life(0)).await.unwrap();
    let view = bytes(&journal.view());
    let trigger = Statement::new(
        "CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'out of order'); END",
        [] as [Value; 0],
    );
    storage.write(vec![trigger]).await.unwrap();
    let (one, two, refused) = tokio::join!(
        append(&journal, life(1)),
        append(&journal, life(2)),
        journal.submit(|_, _| Err::<(Vec<NewEvent>, ()), _>("no"))
    );
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(error, SubmitError::Storage(_)), "{error:?}");
    }
    assert!(refused.is_err());
    assert_eq!(bytes(&journal.view()), view);
    storage.write(vec![Statement::new("DROP TRIGGER broken", [])]).await.unwrap();
    append(&journal, life(1)).await.unwrap();
    check_whole(&journal).await;
    let error = append(&journal, life(1)[2..].to_vec()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Inconsistent(_)), "{}", error_text(&error));
}

fn error_text(error: &SubmitError<String>) -> String {
    match error {
        SubmitError::Inconsistent(source) => chain(source),
        other => format!("{other:?}"),
    }
}
