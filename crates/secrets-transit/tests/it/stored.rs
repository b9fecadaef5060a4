//! What is stored of a key. Each version of the format has its sample, which every later version has to read.

use mainstay_custody::Expect;
use mainstay_secrets_engine::Batch;
use serde_json::{Value, json};

use crate::fixture::{Transit, text};

const POLICY_1: &str = include_str!("../samples/policy-1.json");
const ARCHIVE_1: &str = include_str!("../samples/archive-1.json");
/// What the first version of the sample's key encrypted: "hello" in the context "context".
const CIPHERTEXT: &str = "vault:v1:YHxkZ17/p5CjtzwltC9FVK89YaVi6WzT2zA+Pc3wOdjI";

async fn with_sample(policy: Value) -> Transit {
    let transit = Transit::open().await;
    let archive: Value = serde_json::from_str(ARCHIVE_1).unwrap();
    let mut batch = Batch::default();
    batch.put("policy/a", Expect::Absent, &policy).put("archive/a", Expect::Absent, &archive);
    transit.storage.commit(batch).await.unwrap();
    transit
}

#[tokio::test]
async fn the_first_format_is_read_and_written() {
    let policy: Value = serde_json::from_str(POLICY_1).unwrap();
    let transit = with_sample(policy.clone()).await;
    assert_eq!(transit.read("keys/a").await["latest_version"], 2);
    transit.write("keys/a/config", json!({ "min_decryption_version": 1 })).await;
    let body = json!({ "ciphertext": CIPHERTEXT, "context": "Y29udGV4dA==" });
    assert_eq!(transit.write("decrypt/a", body).await["plaintext"], "aGVsbG8=");
    transit.write("keys/a/config", json!({ "min_decryption_version": 2 })).await;
    let written: Option<Value> = transit.storage.value("policy/a").await.unwrap();
    assert_eq!(written, Some(policy));
    let written: Option<Value> = transit.storage.value("archive/a").await.unwrap();
    assert_eq!(written, Some(serde_json::from_str(ARCHIVE_1).unwrap()));
}

#[tokio::test]
async fn a_later_format_is_refused_and_left_alone() {
    let mut policy: Value = serde_json::from_str(POLICY_1).unwrap();
    policy["format"] = json!(2);
    let transit = with_sample(policy).await;
    let refusal = transit.try_write("keys/a/rotate", json!({})).await.unwrap_err();
    assert!(refusal.to_string().contains("newer version of Mainstay"), "{refusal}");
}

#[tokio::test]
async fn neither_errors_nor_debug_texts_show_keys() {
    let mut policy: Value = serde_json::from_str(POLICY_1).unwrap();
    let key = text(&policy["versions"]["2"], "key").to_owned();
    policy["versions"]["2"]["key"] = json!(format!("{key}!"));
    let transit = with_sample(policy).await;
    let refusal = transit.try_write("keys/a/rotate", json!({})).await.unwrap_err();
    assert!(!format!("{refusal:?}").contains(&key[..8]), "{refusal:?}");
}
