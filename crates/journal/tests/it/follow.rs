//! Following misses nothing.

use crate::traffic::life;
use crate::{append, in_memory};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_every_event_once_and_in_order() {
    let journal = in_memory().await;
    append(&journal, (0..100).flat_map(life).collect()).await.unwrap();
    let (total, after) = (400 * 16 - 40 * 8, 7);
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let mut follower = journal.follow(after);
            tokio::spawn(async move {
                let mut expected = after + 1;
                while expected <= total {
                    let event = follower.next().await.unwrap().unwrap();
                    assert_eq!(event.sequence, expected);
                    expected += 1;
                }
            })
        })
        .collect();
    for first in 100..400 {
        append(&journal, life(first)).await.unwrap();
    }
    assert_eq!(journal.view().sequence(), total);
    for follower in followers {
        follower.await.unwrap();
    }
}

#[tokio::test]
async fn a_follower_waits_for_what_comes_and_ends_with_the_journal() {
    let journal = in_memory().await;
    append(&journal, life(0)).await.unwrap();
    let mut follower = journal.follow(journal.view().sequence());
    let waiting = tokio::spawn(async move {
        let event = follower.next().await.unwrap().unwrap();
        (event.sequence, follower)
    });
    tokio::task::yield_now().await;
    append(&journal, vec![life(1).swap_remove(0)]).await.unwrap();
    let (sequence, mut follower) = waiting.await.unwrap();
    assert_eq!(sequence, 9);
    journal.close().await;
    assert!(follower.next().await.unwrap().is_none());
}
