//! What earlier versions of Mainstay have written.

use mainstay_custody::BarrierError;
use mainstay_secrets_engine::{Operation, Refusal, Storage};
use serde_json::{Value, json};

use crate::{Kv, START, body};

/// Entries by key, as format 1 writes them.
const FORMAT_1: &str = include_str!("samples/format-1.json");

async fn sample() -> Storage {
    let storage = Storage::scratch().await;
    let entries: serde_json::Map<String, Value> = serde_json::from_str(FORMAT_1).expect("the sample is JSON");
    for (key, entry) in entries {
        storage.put(&key, &entry).await.expect("it is kept");
    }
    storage
}

#[tokio::test]
async fn format_1_is_read() {
    let kv = Kv::open(sample().await, "2").await;
    assert_eq!(
        kv.read("config").await,
        json!({"max_versions": 4, "cas_required": false, "delete_version_after": "1h0m0s"})
    );
    let read = kv.read("data/app/database").await;
    assert_eq!(read["data"], json!({"password": "correct horse", "port": 5432}));
    assert_eq!(read["metadata"]["custom_metadata"], json!({"owner": "team-a"}));
    let metadata = kv.read("metadata/app/database").await;
    assert_eq!(
        metadata["versions"]["2"],
        json!({
            "created_time": "2026-11-01T00:00:01.000000Z", "deletion_time": "2026-11-02T00:00:00.000000Z", "destroyed": true,
        })
    );
    assert_eq!((&metadata["oldest_version"], &metadata["max_versions"]), (&json!(2), &json!(2)));
}

/// This version writes format 1: a later one that writes another has to keep the sample and read it.
#[tokio::test]
async fn format_1_is_what_is_written() {
    let storage = Storage::scratch().await;
    let mut kv = Kv::open(storage.clone(), "2").await;
    let earlier = |text: &str| text.parse().unwrap();
    kv.call(Operation::Update, "config", json!({"max_versions": 4, "delete_version_after": "1h"})).await;
    kv.now = earlier("2026-11-01T00:00:00Z");
    let settings = json!({"max_versions": 2, "delete_version_after": 7200, "custom_metadata": {"owner": "team-a"}});
    kv.call(Operation::Update, "metadata/app/database", settings).await;
    kv.write("app/database", json!({"password": "correct horse", "port": 5432})).await;
    let sample: Value = serde_json::from_str(FORMAT_1).unwrap();
    let shape = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let written = async |key: &str| storage.value::<Value>(key).await.unwrap().unwrap();
    assert_eq!(written("config").await, sample["config"]);
    assert_eq!(written("versions/app/database/1").await, sample["versions/app/database/3"]);
    kv.call(Operation::Update, "destroy/app/database", json!({"versions": [1]})).await;
    let (metadata, sample) = (written("metadata/app/database").await, &sample["metadata/app/database"]);
    assert_eq!(shape(&metadata), shape(sample));
    assert_eq!(shape(&metadata["versions"]["1"]), shape(&sample["versions"]["2"]));
}

#[tokio::test]
async fn a_later_format_is_not_guessed_at() {
    let storage = sample().await;
    let mut entry: Value = storage.value("versions/app/database/3").await.unwrap().unwrap();
    entry["format"] = json!(2);
    storage.put("versions/app/database/3", &entry).await.unwrap();
    let kv = Kv::open(storage, "2").await;
    let refused = kv.try_call(Operation::Read, "data/app/database", json!({})).await;
    let Err(Refusal::Failed { source: Some(source), .. }) = refused else { panic!("{refused:?}") };
    assert!(matches!(source.downcast_ref(), Some(BarrierError::Damaged { .. })), "{source}");
    let answer = kv.call(Operation::Delete, "data/app/database", json!({})).await;
    assert!(body(answer).is_null() && kv.now == START);
}
