//! Whatever is submitted, refused, or fails on the way: the journal stays whole, and it holds what was acknowledged.

use mainstay_domain::event::NewEvent;
use mainstay_journal::{Journal, SubmitError};
use mainstay_storage::{Location, Statement, Store};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::traffic::life;
use crate::{check_whole, store};

/// One thing that happens to a journal.
#[derive(Debug, Clone)]
enum Happening {
    /// These are submitted at once.
    Submissions(Vec<Submission>),
    /// The storage takes no events from now on, or takes them again.
    Storage { works: bool },
    /// The control plane ends, without or with a snapshot, and another one starts.
    Restart { snapshot: bool },
}

#[derive(Debug, Clone, Copy)]
enum Submission {
    /// The next life, up to an event of it.
    Life {
        events: usize,
    },
    Nothing,
    Refused,
    /// Events of something that is not there.
    Inconsistent,
}

fn happening() -> impl Strategy<Value = Happening> {
    let submission = prop_oneof![
        6 => (1..=16usize).prop_map(|events| Submission::Life { events }),
        1 => Just(Submission::Nothing),
        2 => Just(Submission::Refused),
        1 => Just(Submission::Inconsistent),
    ];
    prop_oneof![
        8 => proptest::collection::vec(submission, 1..6).prop_map(Happening::Submissions),
        2 => any::<bool>().prop_map(|works| Happening::Storage { works }),
        1 => any::<bool>().prop_map(|snapshot| Happening::Restart { snapshot }),
    ]
}

#[test]
fn the_journal_holds_what_was_acknowledged_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let happenings = proptest::collection::vec(happening(), 1..20);
    let result = runner.run(&happenings, |happenings| {
        runtime.block_on(play(happenings));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn play(happenings: Vec<Happening>) {
    let path = tempfile::tempdir().unwrap();
    let place = Location::Directory(path.path().to_owned());
    let mut storage = store(&place).await;
    let mut journal = Journal::open(storage.clone()).await.unwrap();
    let mut works = true;
    let mut lives = 0;
    let mut expected: Vec<NewEvent> = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Submissions(submissions) => {
                let acknowledged = submit(&journal, &submissions, &mut lives, works).await;
                expected.extend(acknowledged);
            }
            Happening::Storage { works: now } => {
                switch(&storage, now).await;
                works = now;
            }
            Happening::Restart { snapshot } => {
                if snapshot {
                    journal.close().await;
                    storage = store(&place).await;
                }
                journal = Journal::open(storage.clone()).await.unwrap();
            }
        }
        assert_eq!(journal.view().sequence(), expected.len() as u64);
    }
    check_whole(&journal).await;
    let events = journal.read(0, 1000).await.unwrap();
    let found = events.into_iter().map(|event| (event.subject.clone(), event.body().unwrap()));
    let expected = expected.into_iter().map(|event| (event.subject, event.body)).take(1000);
    assert!(found.eq(expected), "the journal holds other events than were acknowledged");
}

/// Submits all at once and gives the events of those that were acknowledged, in order.
async fn submit(journal: &Journal, submissions: &[Submission], lives: &mut u64, works: bool) -> Vec<NewEvent> {
    let mut waiting = Vec::new();
    for submission in submissions {
        let submission = *submission;
        *lives += 1;
        let number = *lives;
        let journal = journal.clone();
        waiting.push(tokio::spawn(async move {
            let events = events(submission, number);
            let decided = events.clone();
            let result = journal
                .submit(move |_, _| match submission {
                    Submission::Refused => Err("no"),
                    _ => Ok((decided.clone(), ())),
                })
                .await;
            check_answer(submission, works, &result.as_ref().map(drop));
            result.ok().map(|committed| (committed.sequence, events))
        }));
        // Spawned tasks of one thread run in the order in which they were spawned, so this is the order of the queue.
        tokio::task::yield_now().await;
    }
    let mut acknowledged = Vec::new();
    for task in waiting {
        acknowledged.extend(task.await.unwrap().map(|(_, events)| events));
    }
    acknowledged.concat()
}

fn events(submission: Submission, number: u64) -> Vec<NewEvent> {
    match submission {
        Submission::Life { events } => life(number).into_iter().take(events).collect(),
        Submission::Inconsistent => life(number).drain(2..3).collect(),
        Submission::Nothing | Submission::Refused => Vec::new(),
    }
}

/// A batch with nothing to store is answered as decided even where the storage is broken.
fn check_answer(submission: Submission, works: bool, result: &Result<(), &SubmitError<&str>>) {
    let failed = matches!(result, Err(SubmitError::Storage(_))) && !works;
    let as_decided = match submission {
        Submission::Life { .. } => result.is_ok() && works,
        Submission::Nothing => result.is_ok(),
        Submission::Refused => matches!(result, Err(SubmitError::Rejected("no"))),
        Submission::Inconsistent => matches!(result, Err(SubmitError::Inconsistent(_))),
    };
    assert!(as_decided || failed, "{submission:?}: {result:?}");
}

async fn switch(storage: &Store, works: bool) {
    let statement = match works {
        true => "DROP TRIGGER IF EXISTS broken",
        false => "CREATE TRIGGER IF NOT EXISTS broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'broken'); END",
    };
    storage.write(vec![Statement::new(statement, [])]).await.unwrap();
}
