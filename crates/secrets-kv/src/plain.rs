//! Version 1: one value for each path.

use async_trait::async_trait;
use mainstay_secrets_engine::{Answer, Backend, Fields, Operation, Refusal, Request, Storage};
use serde_json::{Map, Value};

/// Where the values are. Version 2 looks here for what it takes over.
pub(crate) const VALUES: &str = "values/";

pub(crate) struct Plain {
    values: Storage,
}

impl Plain {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { values: storage.below(VALUES) }
    }

    async fn read(&self, request: &Request) -> Result<Answer, Refusal> {
        let value: Option<Map<String, Value>> = self.values.value(&request.path).await?;
        let value = value.ok_or(Refusal::NotFound)?;
        // Whoever wrote the value may say with it how long it holds. It is a hint, which may be wrong.
        let fields = Fields::new(&value);
        let hint = ["ttl", "lease"].into_iter().find(|name| value.contains_key(*name));
        let hint = hint.and_then(|name| fields.seconds(name).ok().flatten());
        let keep_seconds = Some(hint.unwrap_or(request.mount.default_lease_seconds));
        Ok(Answer { data: Some(value), keep_seconds, ..Answer::default() })
    }

    async fn write(&self, request: &Request) -> Result<Answer, Refusal> {
        check_writable(&request.path)?;
        if request.data.is_empty() {
            return Err(Refusal::invalid("missing data fields"));
        }
        self.values.put(&request.path, &request.data).await?;
        Ok(Answer::nothing())
    }
}

#[async_trait]
impl Backend for Plain {
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        let value: Option<serde::de::IgnoredAny> = self.values.value(&request.path).await?;
        Ok(Some(value.is_some()))
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        match request.operation {
            Operation::Read => self.read(request).await,
            Operation::Create | Operation::Update => self.write(request).await,
            Operation::Delete => {
                self.values.delete(&request.path).await?;
                Ok(Answer::nothing())
            }
            Operation::List => list(&self.values, &request.path).await,
            Operation::Patch => Err(Refusal::UnsupportedOperation),
        }
    }
}

/// What is directly below a folder; an empty folder is none.
pub(crate) async fn list(storage: &Storage, folder: &str) -> Result<Answer, Refusal> {
    let folder = match folder {
        "" => String::new(),
        folder => format!("{}/", folder.trim_end_matches('/')),
    };
    match storage.list(&folder).await? {
        keys if keys.is_empty() => Err(Refusal::NotFound),
        keys => Ok(Answer::keys(keys)),
    }
}

/// Refuses paths that would be folders.
pub(crate) fn check_writable(path: &str) -> Result<(), Refusal> {
    match path {
        "" => Err(Refusal::invalid("missing path")),
        path if path.ends_with('/') => Err(Refusal::invalid("cannot write to a path ending in '/'")),
        _ => Ok(()),
    }
}
