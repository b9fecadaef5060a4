//! A mount of the engine, in memory, and openssl beside it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use mainstay_secrets_engine::{Answer, Backend, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_secrets_pki::PkiKind;
use mainstay_types::Timestamp;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A mount with its own time.
pub struct Pki {
    pub backend: Arc<dyn Backend>,
    pub storage: Storage,
    pub now: Timestamp,
    mount: Arc<Mount>,
}

impl Pki {
    pub async fn new() -> Self {
        Self::over(Storage::scratch().await).await
    }

    pub async fn over(storage: Storage) -> Self {
        let mount = Arc::new(Mount {
            path: "pki/".into(),
            accessor: "pki_1".into(),
            uuid: "1".into(),
            options: Default::default(),
            default_lease_seconds: 768 * 3600,
            max_lease_seconds: 10 * 365 * 24 * 3600,
        });
        let backend = PkiKind.open(Arc::clone(&mount), storage.clone()).await.unwrap();
        Self { backend, storage, now: Timestamp::now(), mount }
    }

    /// A mount with a root, and a role `web` for `example.com`, with keys that are made quickly.
    pub async fn with_root() -> Self {
        let pki = Self::new().await;
        let root = json!({"common_name": "Root", "key_type": "ec", "ttl": "8760h", "issuer_name": "root"});
        pki.write("root/generate/internal", root).await;
        let role = json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "ttl": "1h"});
        pki.write("roles/web", role).await;
        pki
    }

    pub async fn ask(&self, operation: Operation, path: &str, data: Value, raw: Vec<u8>) -> Result<Answer, Refusal> {
        let Value::Object(data) = data else { panic!("fields are an object") };
        let request = Request {
            operation,
            path: path.to_owned(),
            data,
            raw_body: raw,
            mount: Arc::clone(&self.mount),
            caller: None,
            tenant: "default".parse().unwrap(),
            remote: None,
            now: self.now,
        };
        self.backend.handle(&request).await
    }

    pub async fn try_write(&self, path: &str, data: Value) -> Result<Answer, Refusal> {
        self.ask(Operation::Update, path, data, Vec::new()).await
    }

    pub async fn write(&self, path: &str, data: Value) -> Map<String, Value> {
        let answer = self.try_write(path, data).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}")).data.unwrap_or_default()
    }

    pub async fn read(&self, path: &str) -> Map<String, Value> {
        let answer = self.ask(Operation::Read, path, json!({}), Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}")).data.unwrap_or_default()
    }

    /// The content type and the body of an answer that is not JSON.
    pub async fn raw(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        let answer = self.ask(Operation::Read, path, json!({}), Vec::new()).await.unwrap();
        answer.raw.map(|raw| (raw.content_type, raw.body))
    }

    pub async fn list(&self, path: &str) -> Vec<String> {
        match self.ask(Operation::List, path, json!({}), Vec::new()).await {
            Ok(answer) => serde_json::from_value(answer.data.unwrap()["keys"].clone()).unwrap(),
            Err(Refusal::NotFound) => Vec::new(),
            Err(error) => panic!("{path}: {error:?}"),
        }
    }
}

/// A directory with files in it.
pub struct Files(TempDir);

impl Files {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = TempDir::new().unwrap();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs openssl in the directory, and gives what it says.
    pub fn openssl(&self, arguments: &str) -> Result<String, String> {
        let run = Command::new("openssl").args(arguments.split(' ')).current_dir(self.path()).output();
        let Output { status, stdout, stderr } = run.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if status.success() { Ok(said) } else { Err(said) }
    }
}

pub fn text<'a>(data: &'a Map<String, Value>, field: &str) -> &'a str {
    data[field].as_str().unwrap_or_else(|| panic!("{field} is no text"))
}
