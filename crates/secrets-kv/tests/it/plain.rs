//! Version 1, as hvac's own tests and Vault's documentation have it.

use mainstay_secrets_engine::{Operation, Storage};
use serde_json::json;

use crate::{Kv, body};

#[tokio::test]
async fn a_value_is_written_read_listed_and_deleted() {
    let kv = Kv::open(Storage::scratch().await, "1").await;
    assert_eq!(kv.refusal(Operation::Read, "hvac/top-secret", json!({})).await, "404");
    assert_eq!(kv.refusal(Operation::List, "hvac", json!({})).await, "404");

    let request = kv.request(Operation::Create, "hvac/top-secret", json!({"pssst": "hi"}));
    assert_eq!(kv.backend.exists(&request).await.unwrap(), Some(false));
    assert!(kv.backend.handle(&request).await.unwrap().data.is_none());
    assert_eq!(kv.backend.exists(&request).await.unwrap(), Some(true));

    let answer = kv.call(Operation::Read, "hvac/top-secret", json!({})).await;
    assert_eq!((answer.keep_seconds, answer.lease.is_none()), (Some(2_764_800), true));
    assert_eq!(body(answer), json!({"pssst": "hi"}));
    for folder in ["hvac", "hvac/"] {
        assert_eq!(body(kv.call(Operation::List, folder, json!({})).await), json!({"keys": ["top-secret"]}));
    }
    assert_eq!(body(kv.call(Operation::List, "", json!({})).await), json!({"keys": ["hvac/"]}));

    for _ in 0..2 {
        assert!(kv.call(Operation::Delete, "hvac/top-secret", json!({})).await.data.is_none());
    }
    assert_eq!(kv.refusal(Operation::Read, "hvac/top-secret", json!({})).await, "404");
    assert_eq!(kv.refusal(Operation::List, "", json!({})).await, "404");
}

#[tokio::test]
async fn a_value_may_say_how_long_it_holds() {
    let kv = Kv::open(Storage::scratch().await, "").await;
    let table = [
        (json!({"ttl": "1h"}), 3600),
        (json!({"ttl": 30, "lease": 60}), 30),
        (json!({"lease": "90s"}), 90),
        (json!({"ttl": "some time"}), 2_764_800),
        (json!({"ttl": {"a": 1}}), 2_764_800),
        (json!({"other": "1h"}), 2_764_800),
    ];
    for (value, seconds) in table {
        kv.call(Operation::Update, "a", value.clone()).await;
        let answer = kv.call(Operation::Read, "a", json!({})).await;
        assert_eq!(answer.keep_seconds, Some(seconds), "{value}");
        assert_eq!(body(answer), value);
    }
}

#[tokio::test]
async fn what_is_no_secret_is_refused() {
    let kv = Kv::open(Storage::scratch().await, "1").await;
    assert_eq!(kv.refusal(Operation::Update, "", json!({"a": 1})).await, "missing path");
    assert_eq!(kv.refusal(Operation::Update, "a", json!({})).await, "missing data fields");
    assert_eq!(kv.refusal(Operation::Create, "a/", json!({"a": 1})).await, "cannot write to a path ending in '/'");
    assert_eq!(kv.refusal(Operation::Patch, "a", json!({"a": 1})).await, "405");
    for path in ["", "a/", "values/a"] {
        assert_eq!(kv.refusal(Operation::Read, path, json!({})).await, "404");
    }
}

#[tokio::test]
async fn a_mount_that_is_tuned_to_version_2_keeps_its_values() {
    let storage = Storage::scratch().await;
    let old = Kv::open(storage.clone(), "1").await;
    for (path, value) in [("app", json!({"a": 1})), ("app/db", json!({"b": [2]})), ("config", json!({"c": "d"}))] {
        old.call(Operation::Update, path, value).await;
    }
    let new = Kv::open(storage.clone(), "2").await;
    assert_eq!(new.read("data/app").await["data"], json!({"a": 1}));
    assert_eq!(new.read("data/app/db").await["data"], json!({"b": [2]}));
    assert_eq!(new.read("data/config").await["metadata"]["version"], json!(1));
    assert_eq!(
        body(new.call(Operation::List, "metadata/", json!({})).await),
        json!({"keys": ["app", "app/", "config"]})
    );

    // Back and forth: what version 1 wrote since is a version more.
    let old = Kv::open(storage.clone(), "1").await;
    assert_eq!(old.refusal(Operation::Read, "app", json!({})).await, "404");
    old.call(Operation::Update, "app", json!({"a": 2})).await;
    let new = Kv::open(storage, "2").await;
    let read = new.read("data/app").await;
    assert_eq!((&read["data"], &read["metadata"]["version"]), (&json!({"a": 2}), &json!(2)));
}
