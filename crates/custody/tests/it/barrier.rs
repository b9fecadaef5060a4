//! Entries: expectations, revisions, listings, and many who write at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mainstay_custody::{Barrier, BarrierError, Change, CommitError, Custody, Expect, LARGEST_VALUE, LONGEST_PATH};
use mainstay_storage::Location;
use mainstay_storage::scratch::ScratchPostgres;
use zeroize::Zeroizing;

use crate::{delete_entry, entry, in_memory, key, put_entry};

fn expecting(path: &str, expect: Expect, value: &[u8]) -> Change {
    Change { expect, ..entry(path, value) }
}

async fn revision(barrier: &Barrier, path: &str) -> Option<u64> {
    barrier.get(path).await.unwrap().map(|entry| entry.revision)
}

#[tokio::test]
async fn revisions_rise_and_never_repeat() {
    let custody = in_memory().await;
    let barrier = custody.barrier();
    let mut last = 0;
    for round in 0..5 {
        for path in ["a", "b"] {
            put_entry(&barrier, path, &[round]).await;
            let found = revision(&barrier, path).await.unwrap();
            assert!(found > last);
            last = found;
        }
        delete_entry(&barrier, "a").await;
        assert_eq!(revision(&barrier, "a").await, None);
    }
    assert!(custody.position() >= last);
}

#[tokio::test]
async fn a_commit_is_whole_or_not_at_all() {
    let custody = in_memory().await;
    let barrier = custody.barrier();
    put_entry(&barrier, "a", b"one").await;
    let at = revision(&barrier, "a").await.unwrap();
    let error = barrier
        .commit(vec![expecting("new", Expect::Absent, b"x"), expecting("a", Expect::Revision(at + 1), b"x")])
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Conflict { path } if path == "a"));
    assert_eq!(revision(&barrier, "new").await, None);
    barrier
        .commit(vec![expecting("new", Expect::Absent, b"x"), expecting("a", Expect::Revision(at), b"two")])
        .await
        .unwrap();
    assert_eq!(barrier.get("a").await.unwrap().unwrap().value.as_slice(), b"two");
    assert!(matches!(
        barrier.commit(vec![expecting("new", Expect::Absent, b"x")]).await,
        Err(CommitError::Conflict { .. })
    ));
    barrier.commit(Vec::new()).await.unwrap();
    let many = (0..5000).map(|number| entry(&format!("many/{number}"), b"x")).collect();
    barrier.commit(many).await.unwrap();
    assert_eq!(barrier.paths("many/", None, usize::MAX >> 1).await.unwrap().len(), 5000);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_alone() {
    let custody = in_memory().await;
    let barrier = custody.barrier();
    put_entry(&barrier, &"x".repeat(LONGEST_PATH), &vec![7; LARGEST_VALUE]).await;
    for bad in ["", "a\0b", &"x".repeat(LONGEST_PATH + 1)] {
        let refused = barrier.commit(vec![entry(bad, b"")]).await;
        assert!(matches!(refused, Err(CommitError::Barrier(BarrierError::InvalidPath { .. }))), "{bad:?}");
        assert!(matches!(barrier.get(bad).await, Err(BarrierError::InvalidPath { .. })), "{bad:?}");
    }
    let refused = barrier.commit(vec![entry("a", &vec![7; LARGEST_VALUE + 1])]).await;
    assert!(matches!(refused, Err(CommitError::Barrier(BarrierError::TooLarge { .. }))));
}

#[tokio::test]
async fn children_are_named_once_whatever_is_below_them() {
    let custody = in_memory().await;
    let barrier = custody.barrier();
    let mut changes: Vec<Change> = (0..3000).map(|number| entry(&format!("p/big/{number:04}"), b"")).collect();
    changes.extend((0..300).map(|number| entry(&format!("p/n{number:03}"), b"")));
    for path in ["p/a", "p/a/x", "p/a-b", "p/a0", "p/zz/y/x", "p/ü/x", "q/x", "p", "p-x", "p/\u{1}"] {
        changes.push(entry(path, b""));
    }
    barrier.commit(changes).await.unwrap();
    let mut expected: Vec<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    expected.extend(["a", "a/", "a-b", "a0", "big/", "zz/", "ü/", "\u{1}"].map(str::to_owned));
    // In byte order of the paths: what is below a folder comes behind an entry of its name, and `-` before `/`.
    expected.sort_by_key(|child| child.clone().into_bytes());
    let all = barrier.children("p/", None, 10_000).await.unwrap();
    assert_eq!(all, expected);
    // Page by page, of every size.
    for size in [1, 2, 7, 100, 400] {
        let mut paged: Vec<String> = Vec::new();
        loop {
            let page = barrier.children("p/", paged.last().map(String::as_str), size).await.unwrap();
            assert!(page.len() <= size);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected, "pages of {size}");
    }
    assert_eq!(barrier.children("", None, 10).await.unwrap(), ["p", "p-x", "p/", "q/"]);
    assert_eq!(barrier.children("none/", None, 10).await.unwrap(), [""; 0]);
    assert_eq!(barrier.paths("p/big/", Some("p/big/2997"), 10).await.unwrap(), ["p/big/2998", "p/big/2999"]);
    assert_eq!(barrier.paths("p/", None, 2).await.unwrap(), ["p/\u{1}", "p/a"]);
}

/// Many tasks raise counters under expectations: none is lost, whoever conflicts reads again.
async fn count_together(barrier: &Barrier, tasks: u64, rounds: u64) {
    let raised = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (barrier, raised) = (barrier.clone(), raised.clone());
            tokio::spawn(async move {
                for round in 0..rounds {
                    let counters = [format!("c/{}", (task + round) % 3), format!("d/{}", (task * round) % 5)];
                    loop {
                        let mut changes = Vec::new();
                        for path in &counters {
                            let found = barrier.get(path).await.unwrap();
                            let expect =
                                found.as_ref().map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
                            let before =
                                found.map_or(0, |entry| u64::from_le_bytes(entry.value[..].try_into().unwrap()));
                            changes.push(expecting(path, expect, &(before + 1).to_le_bytes()));
                        }
                        match barrier.commit(changes).await {
                            Ok(()) => break,
                            Err(CommitError::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    let mut raised = raised.lock().unwrap();
                    counters.into_iter().for_each(|path| *raised.entry(path).or_default() += 1);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let raised = raised.lock().unwrap().clone();
    for (path, count) in raised {
        let entry = barrier.get(&path).await.unwrap().unwrap();
        assert_eq!(entry.value[..], count.to_le_bytes(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_is_lost_among_many_writers() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Directory(directory.path().into());
    let custody = Custody::open(&location, key(1)).await.unwrap();
    count_together(&custody.barrier(), 16, 25).await;
    custody.close().await;
    // And all of it adds up.
    Custody::open(&location, key(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_is_lost_among_two_processes_on_postgresql() {
    let server = ScratchPostgres::start();
    let location = Location::Postgres(server.new_database());
    let (here, there) =
        (Custody::open(&location, key(1)).await.unwrap(), Custody::open(&location, key(1)).await.unwrap());
    let mut raised = 0u64;
    for round in 0..20 {
        let barrier = if round % 3 == 0 { here.barrier() } else { there.barrier() };
        loop {
            let found = barrier.get("counter").await.unwrap();
            let expect = found.as_ref().map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
            let before = found.map_or(0, |entry| u64::from_le_bytes(entry.value[..].try_into().unwrap()));
            let value = Some(Zeroizing::new((before + 1).to_le_bytes().to_vec()));
            match barrier.commit(vec![Change { path: "counter".to_owned(), expect, value }]).await {
                Ok(()) => break,
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        raised += 1;
    }
    let again = Custody::open(&location, key(1)).await.unwrap();
    assert_eq!(again.barrier().get("counter").await.unwrap().unwrap().value[..], raised.to_le_bytes());
}
