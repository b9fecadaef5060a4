//! The auth methods as a client sees them, and as an attacker does.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod approle;
mod approle_races;
mod issuer;
mod jwt;
mod jwt_attacks;
mod jwt_keys;
mod samples;
mod userpass;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Backend, Kind, Login, Mount, Operation, Refusal, Request, Storage};
use mainstay_types::Timestamp;
use serde_json::{Value, json};

/// The time of tests: 2026-11-21T12:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

/// One mount and its storage.
#[derive(Clone)]
struct Scene {
    backend: Arc<dyn Backend>,
    mount: Arc<Mount>,
    storage: Storage,
    now: Timestamp,
    remote: Option<IpAddr>,
}

impl Scene {
    async fn new(kind: &dyn Kind) -> Self {
        Self::on(kind, Storage::scratch().await).await
    }

    async fn on(kind: &dyn Kind, storage: Storage) -> Self {
        let mount = Arc::new(Mount {
            path: format!("auth/{}/", kind.name()),
            accessor: "accessor".to_owned(),
            uuid: "uuid".to_owned(),
            options: BTreeMap::new(),
            default_lease_seconds: 3600,
            max_lease_seconds: 2_764_800,
        });
        let backend = kind.open(Arc::clone(&mount), storage.clone()).await.unwrap();
        Self { backend, mount, storage, now: NOW, remote: Some([127, 0, 0, 1].into()) }
    }

    /// The same, some seconds later.
    fn later(&self, seconds: u64) -> Self {
        Self { now: self.now.plus_seconds(seconds), ..self.clone() }
    }

    /// The same, for a client at another address.
    fn from(&self, address: &str) -> Self {
        Self { remote: Some(address.parse().unwrap()), ..self.clone() }
    }

    async fn call(&self, operation: Operation, path: &str, data: Value) -> Result<Answer, Refusal> {
        let mut request = Request {
            operation,
            path: path.to_owned(),
            data: data.as_object().unwrap().clone(),
            raw_body: Vec::new(),
            mount: Arc::clone(&self.mount),
            caller: None,
            tenant: "default".parse().unwrap(),
            remote: self.remote,
            now: self.now,
        };
        if operation == Operation::Update && self.backend.exists(&request).await? == Some(false) {
            request.operation = Operation::Create;
        }
        self.backend.handle(&request).await
    }

    async fn try_write(&self, path: &str, data: Value) -> Result<Answer, Refusal> {
        self.call(Operation::Update, path, data).await
    }

    async fn write(&self, path: &str, data: Value) -> Value {
        let answer = self.try_write(path, data).await.unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));
        answer.data.map_or(Value::Null, Value::Object)
    }

    async fn read(&self, path: &str) -> Result<Value, Refusal> {
        let answer = self.call(Operation::Read, path, json!({})).await?;
        Ok(answer.data.map_or(Value::Null, Value::Object))
    }

    async fn list(&self, path: &str) -> Result<Value, Refusal> {
        let answer = self.call(Operation::List, path, json!({})).await?;
        Ok(answer.data.unwrap()["keys"].clone())
    }

    async fn delete(&self, path: &str) -> Result<Answer, Refusal> {
        self.call(Operation::Delete, path, json!({})).await
    }

    async fn login(&self, path: &str, data: Value) -> Result<Login, Refusal> {
        Ok(self.try_write(path, data).await?.login.expect("a login answers a login"))
    }

    /// Everything that is stored, as one text and with its keys.
    async fn stored(&self) -> BTreeMap<String, Value> {
        let mut stored = BTreeMap::new();
        for key in self.storage.keys("", None, 10_000).await.unwrap() {
            let value = self.storage.value::<Value>(&key).await.unwrap().unwrap();
            stored.insert(key, value);
        }
        stored
    }
}

/// The message of a 400.
fn invalid<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    match result {
        Err(Refusal::Invalid(message)) => message,
        other => panic!("400 was expected, and it was {other:?}"),
    }
}

fn is_not_found<T>(result: &Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::NotFound))
}
