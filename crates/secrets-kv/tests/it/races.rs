//! Many writers at once.

use std::collections::BTreeSet;

use mainstay_secrets_engine::{Operation, Storage};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Kv, body};

const WRITERS: u64 = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_writers_that_expect_the_same_version_one_wins() {
    let kv = Kv::versioned().await;
    for round in 0..8 {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let kv = kv.clone();
            writers.spawn(async move {
                let data = json!({"options": {"cas": round}, "data": {"round": round, "writer": writer}});
                kv.try_call(Operation::Update, "data/race", data).await.is_ok().then_some(writer)
            });
        }
        let winners: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let read = kv.read("data/race").await;
        assert_eq!(read["data"], json!({"round": round, "writer": winners[0]}));
        assert_eq!(read["metadata"]["version"], json!(round + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_is_lost_and_none_is_refused_for_being_late() {
    let storage = Storage::scratch().await;
    let kv = Kv::open(storage.clone(), "2").await;
    kv.call(Operation::Update, "metadata/race", json!({"max_versions": 100})).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let kv = kv.clone();
        writers.spawn(async move {
            let key = format!("writer-{writer}");
            if writer % 2 == 0 {
                kv.write("race", json!({ key: true })).await
            } else {
                kv.call(Operation::Update, "metadata/race", json!({"custom_metadata": { "last": key }})).await;
                kv.write("race", json!({ key: true })).await
            }
        });
    }
    let versions = writers.join_all().await.into_iter().map(|answer| answer["version"].as_u64().unwrap());
    assert_eq!(versions.collect::<BTreeSet<_>>(), (1..=WRITERS).collect());
    let mut values = BTreeSet::new();
    for version in 1..=WRITERS {
        let answer = kv.call(Operation::Read, "data/race", json!({ "version": version })).await;
        values.insert(body(answer)["data"].to_string());
    }
    assert_eq!(values.len() as u64, WRITERS);
}

/// Patches build on one another, whatever their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_patch_is_lost() {
    let kv = Kv::versioned().await;
    kv.write("race", json!({})).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let kv = kv.clone();
        let patch = json!({"data": { format!("writer-{writer}"): true }});
        writers.spawn(async move { kv.call(Operation::Patch, "data/race", patch).await });
    }
    writers.join_all().await;
    assert_eq!(kv.read("data/race").await["data"].as_object().unwrap().len() as u64, WRITERS);
}
