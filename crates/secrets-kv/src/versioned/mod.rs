//! Version 2: the last versions of each secret.
//!
//! A secret is one entry of metadata and one entry for each version's values. Every change is one batch that expects the
//! metadata to be as it was read, so that the metadata always says which values there are.

mod config;
mod custom_metadata;
mod data;
mod metadata;
mod record;
mod subkeys;
mod upgrade;
mod versions;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Answer, Backend, Batch, Operation, Refusal, Request, Storage, Stored};
use serde_json::{Map, Value};

use crate::stripes::Stripes;
use config::Config;
use record::{Metadata, Values, ValuesRef};

/// How often a change is decided again because the secret was changed meanwhile. Writers of this process wait for one
/// another, so that only another process can be in the way.
const ATTEMPTS: usize = 8;

pub(crate) struct Versioned {
    storage: Storage,
    /// As it is in storage: there is one writer.
    config: RwLock<Arc<Config>>,
    stripes: Stripes,
}

/// What becomes of a secret.
struct Change<'a> {
    /// None removes the secret.
    metadata: Option<Metadata>,
    /// The values of the current version, where it is new.
    values: Option<&'a Map<String, Value>>,
    /// The versions whose values are removed.
    removed: Vec<u64>,
}

#[async_trait]
impl Backend for Versioned {
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        match route(&request.path) {
            ("data" | "metadata", Some(path)) if !path.is_empty() => Ok(Some(self.metadata(path).await?.is_some())),
            _ => Ok(None),
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        match route(&request.path) {
            ("config", None) => self.handle_config(request).await,
            ("metadata", path) if request.operation == Operation::List => {
                crate::plain::list(&self.storage, &metadata_key(path.unwrap_or(""))).await
            }
            ("data", Some(path)) if request.is_write() || is_secret(path) => self.handle_data(request, path).await,
            ("metadata", Some(path)) => self.handle_metadata(request, path).await,
            ("subkeys", Some(path)) => self.handle_subkeys(request, path).await,
            (verb @ ("delete" | "undelete" | "destroy"), Some(path)) => self.handle_versions(request, verb, path).await,
            _ => Ok(invalid_path(request)),
        }
    }
}

impl Versioned {
    pub(crate) async fn open(storage: Storage) -> Result<Self, Refusal> {
        let config = Self::read_config(&storage).await?;
        Ok(Self { storage, config: RwLock::new(Arc::new(config)), stripes: Stripes::new() })
    }

    fn config(&self) -> Arc<Config> {
        // Whoever holds the lock does nothing that could panic.
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    async fn metadata(&self, path: &str) -> Result<Option<Stored<Metadata>>, Refusal> {
        Ok(self.storage.get(&metadata_key(path)).await?)
    }

    /// The values of a version that the metadata says is there. None where the secret was removed meanwhile.
    async fn values(&self, path: &str, number: u64) -> Result<Option<Map<String, Value>>, Refusal> {
        let values: Option<Values> = self.storage.value(&values_key(path, number)).await?;
        Ok(values.map(|values| values.data))
    }

    /// Changes a secret. What `decide` says may be asked for again, with newer metadata; without a change, nothing is
    /// written.
    async fn change<'a, A>(
        &self,
        path: &str,
        mut decide: impl FnMut(Option<Metadata>) -> Result<(A, Option<Change<'a>>), Refusal>,
    ) -> Result<A, Refusal> {
        let _turn = self.stripes.lock(path).await;
        for attempt in 1.. {
            let stored = self.metadata(path).await?;
            let (revision, metadata) = match stored {
                Some(stored) => (Expect::Revision(stored.revision), Some(stored.value)),
                None => (Expect::Absent, None),
            };
            let (answer, change) = decide(metadata)?;
            let Some(change) = change else { return Ok(answer) };
            match self.commit(path, revision, &change).await {
                Ok(()) => return Ok(answer),
                Err(CommitError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Makes a change, if the metadata is still as it was read.
    async fn commit(&self, path: &str, read: Expect, change: &Change<'_>) -> Result<(), CommitError> {
        self.storage.commit(change.batch(path, read)).await
    }
}

impl Change<'_> {
    /// All of it, if the metadata is still as it was read.
    fn batch(&self, path: &str, read: Expect) -> Batch {
        let mut batch = Batch::default();
        match &self.metadata {
            Some(metadata) => {
                batch.put(&metadata_key(path), read, metadata);
                if let Some(values) = self.values {
                    let key = values_key(path, metadata.current_version);
                    batch.put(&key, Expect::Anything, &ValuesRef::new(values));
                }
            }
            None => {
                batch.delete(&metadata_key(path), read);
            }
        }
        for number in &self.removed {
            batch.delete(&values_key(path, *number), Expect::Anything);
        }
        batch
    }
}

/// The first segment of a path, and the rest where there is a slash.
fn route(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((verb, rest)) => (verb, Some(rest)),
        None => (path, None),
    }
}

/// Whether a path can be a secret's: it names something, which is no folder.
fn is_secret(path: &str) -> bool {
    !path.is_empty() && !path.ends_with('/')
}

/// What Vault tells those who use a version 2 mount as if it were of version 1.
fn invalid_path(request: &Request) -> Answer {
    if let "metadata" | "data" | "delete" | "undelete" | "destroy" = request.path.as_str() {
        let warning = "Non-listing operations on the root of a K/V v2 mount are not supported.";
        return Answer::nothing().warning(warning).status(404);
    }
    let command = match request.operation {
        Operation::Create | Operation::Update => "put",
        Operation::Patch => "patch",
        Operation::Read => "get",
        Operation::List => "list",
        Operation::Delete => "delete",
    };
    let warning = format!(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
         If using the Vault CLI, use 'vault kv {command}' for this operation."
    );
    Answer::nothing().warning(warning).status(404)
}

fn metadata_key(path: &str) -> String {
    format!("metadata/{path}")
}

/// Different secrets and versions have different keys, since the last segment is the version.
fn values_key(path: &str, number: u64) -> String {
    format!("versions/{path}/{number}")
}
