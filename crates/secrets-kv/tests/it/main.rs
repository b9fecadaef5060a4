//! The KV engine as its clients use it, on a storage in memory.

mod errors;
mod format;
mod model;
mod plain;
mod races;
mod versioned;

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Backend, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_secrets_kv::{KvKind, KvV2Kind};
use mainstay_types::Timestamp;
use serde_json::{Map, Value};

/// A mount, and the time that its requests come at.
#[derive(Clone)]
struct Kv {
    backend: Arc<dyn Backend>,
    mount: Arc<Mount>,
    now: Timestamp,
}

const START: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

impl Kv {
    async fn open(storage: Storage, version: &str) -> Self {
        Self::try_open(&KvKind, storage, version).await.unwrap_or_else(|error| panic!("it opens: {error}"))
    }

    async fn try_open(kind: &dyn Kind, storage: Storage, version: &str) -> Result<Self, Refusal> {
        let options = match version {
            "" => BTreeMap::new(),
            version => BTreeMap::from([("version".to_owned(), version.to_owned())]),
        };
        let mount = Arc::new(Mount {
            path: "kv/".to_owned(),
            accessor: "kv_1234".to_owned(),
            uuid: "1234".to_owned(),
            options,
            default_lease_seconds: 2_764_800,
            max_lease_seconds: 2_764_800,
        });
        let backend = kind.open(Arc::clone(&mount), storage).await?;
        Ok(Self { backend, mount, now: START })
    }

    async fn versioned() -> Self {
        Self::open(Storage::scratch().await, "2").await
    }

    fn request(&self, operation: Operation, path: &str, data: Value) -> Request {
        Request {
            operation,
            path: path.to_owned(),
            data: object(data),
            raw_body: Vec::new(),
            mount: Arc::clone(&self.mount),
            caller: None,
            tenant: "default".parse().expect("a name"),
            remote: None,
            now: self.now,
        }
    }

    async fn try_call(&self, operation: Operation, path: &str, data: Value) -> Result<Answer, Refusal> {
        self.backend.handle(&self.request(operation, path, data)).await
    }

    async fn call(&self, operation: Operation, path: &str, data: Value) -> Answer {
        let answer = self.try_call(operation, path, data).await;
        answer.unwrap_or_else(|error| panic!("{operation:?} {path}: {error:?}"))
    }

    /// The error's text, or the status where it has none.
    async fn refusal(&self, operation: Operation, path: &str, data: Value) -> String {
        match self.try_call(operation, path, data).await {
            Ok(answer) => panic!("{operation:?} {path} is answered: {answer:?}"),
            Err(Refusal::NotFound) => "404".to_owned(),
            Err(Refusal::UnsupportedOperation) => "405".to_owned(),
            Err(Refusal::Invalid(text)) => text,
            Err(other) => panic!("{operation:?} {path}: {other:?}"),
        }
    }

    async fn write(&self, path: &str, data: Value) -> Value {
        let answer = self.call(Operation::Update, &format!("data/{path}"), serde_json::json!({ "data": data })).await;
        body(answer)
    }

    async fn read(&self, path: &str) -> Value {
        body(self.call(Operation::Read, path, serde_json::json!({})).await)
    }
}

fn body(answer: Answer) -> Value {
    answer.data.map_or(Value::Null, Value::Object)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

#[tokio::test]
async fn the_option_says_which_version_is_mounted() {
    let is_versioned = async |kind: &dyn Kind, version| {
        let kv = Kv::try_open(kind, Storage::scratch().await, version).await?;
        Ok::<_, Refusal>(kv.try_call(Operation::Read, "config", serde_json::json!({})).await.is_ok())
    };
    for (version, expected) in [("", false), ("1", false), ("2", true)] {
        assert_eq!(is_versioned(&KvKind, version).await.unwrap(), expected, "{version:?}");
        assert!(is_versioned(&KvV2Kind, version).await.unwrap());
    }
    assert!(matches!(is_versioned(&KvKind, "3").await, Err(Refusal::Invalid(_))));
    assert_eq!((KvKind.name(), KvV2Kind.name()), ("kv", "kv-v2"));
}
