//! A mount of the engine, on a storage in memory.

use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Backend, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_secrets_transit::TransitKind;
use mainstay_types::{TenantName, Timestamp};
use serde_json::{Map, Value};

/// 2026-11-21T12:00:00Z.
pub const NOON: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

#[derive(Clone)]
pub struct Transit {
    pub backend: Arc<dyn Backend>,
    pub storage: Storage,
    mount: Arc<Mount>,
}

impl Transit {
    pub async fn open() -> Self {
        Self::open_on(Storage::scratch().await).await
    }

    /// Another backend on the same storage, as after an unsealing.
    pub async fn open_on(storage: Storage) -> Self {
        let mount = Arc::new(Mount {
            path: "transit/".to_owned(),
            accessor: "transit_1".to_owned(),
            uuid: "1".to_owned(),
            options: Default::default(),
            default_lease_seconds: 3600,
            max_lease_seconds: 3600,
        });
        let backend = TransitKind.open(Arc::clone(&mount), storage.clone()).await.unwrap();
        Self { backend, storage, mount }
    }

    pub async fn call(&self, operation: Operation, path: &str, body: Value) -> Result<Answer, Refusal> {
        self.backend.handle(&self.request(operation, path, body, NOON)).await
    }

    /// Asks the backend as the core does: a write is a creation where it says that there is nothing.
    pub async fn try_write(&self, path: &str, body: Value) -> Result<Answer, Refusal> {
        let mut request = self.request(Operation::Update, path, body, NOON);
        if self.backend.exists(&request).await? == Some(false) {
            request.operation = Operation::Create;
        }
        self.backend.handle(&request).await
    }

    pub async fn write(&self, path: &str, body: Value) -> Value {
        let answer = self.try_write(path, body).await;
        let answer = answer.unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
        assert_eq!(answer.status, None, "{path}: {answer:?}");
        answer.data.map_or(Value::Null, Value::Object)
    }

    pub async fn read(&self, path: &str) -> Value {
        let answer = self.call(Operation::Read, path, Value::Object(Map::new())).await;
        Value::Object(answer.unwrap_or_else(|refusal| panic!("{path}: {refusal}")).data.unwrap())
    }

    /// What a write is refused with, which is the caller's fault.
    pub async fn refused(&self, path: &str, body: Value) -> String {
        match self.try_write(path, body).await {
            Err(Refusal::Invalid(text)) => text,
            other => panic!("{path} is refused as invalid, and was: {other:?}"),
        }
    }

    pub fn request(&self, operation: Operation, path: &str, body: Value, now: Timestamp) -> Request {
        let Value::Object(data) = body else { panic!("a body is an object") };
        Request {
            operation,
            path: path.to_owned(),
            data,
            raw_body: Vec::new(),
            mount: Arc::clone(&self.mount),
            caller: None,
            tenant: TenantName::default_tenant(),
            remote: None,
            now,
        }
    }
}

/// A text of an answer.
pub fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} is a text in {answer}"))
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
