//! The backend of one mount: which path is served by what.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_secrets_engine::{Answer, Backend, Class, Kind, Lease, Mount, Operation, Refusal, Request, Storage};
use mainstay_types::Timestamp;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::databases::Databases;
use crate::names::fits;
use crate::paths::{config, creds, roles, static_roles};
use crate::records::{self, Config, Role, StaticRole};
use crate::rotation::Rotation;

/// The kind of backend that clients mount as `database`.
pub struct DatabaseKind {
    databases: Arc<dyn Databases>,
}

/// The backend of one mount.
pub(crate) struct Database {
    pub mount: Arc<Mount>,
    pub storage: Storage,
    pub databases: Arc<dyn Databases>,
    pub rotation: Arc<Rotation>,
    rotating: JoinHandle<()>,
}

impl DatabaseKind {
    /// The kind, on these databases.
    pub fn new(databases: Arc<dyn Databases>) -> Self {
        Self { databases }
    }
}

#[async_trait]
impl Kind for DatabaseKind {
    fn name(&self) -> &'static str {
        "database"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        let rotation = Arc::new(Rotation::new(storage.clone(), self.databases.clone()));
        let rotating = tokio::spawn(rotation.clone().run());
        Ok(Arc::new(Database { mount, storage, databases: self.databases.clone(), rotation, rotating }))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A rotation that is in progress is in the layer's hands, and goes on there.
        self.rotating.abort();
    }
}

#[async_trait]
impl Backend for Database {
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Refusal> {
        let storage = &self.storage;
        match split(&request.path) {
            ("config", Some(name)) => Ok(Some(records::find::<Config>(storage, name).await?.is_some())),
            ("roles", Some(name)) => Ok(Some(records::find::<Role>(storage, name).await?.is_some())),
            ("static-roles", Some(name)) => Ok(Some(records::find::<StaticRole>(storage, name).await?.is_some())),
            _ => Ok(None),
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        match split(&request.path) {
            ("config" | "roles" | "static-roles", None) if request.operation != Operation::List => {
                Err(Refusal::UnsupportedOperation)
            }
            ("config", None) => self.list::<Config>().await,
            ("roles", None) => self.list::<Role>().await,
            ("static-roles", None) => self.list::<StaticRole>().await,
            (_, Some(name)) if !fits(name) => Err(Refusal::UnsupportedPath),
            ("config", Some(name)) => config::handle(self, request, name).await,
            ("reset", Some(name)) => config::reset(self, request, name).await,
            ("rotate-root", Some(name)) => config::rotate_root(self, request, name).await,
            ("roles", Some(name)) => roles::handle(self, request, name).await,
            ("creds", Some(name)) => creds::handle(self, request, name).await,
            ("static-roles", Some(name)) => static_roles::handle(self, request, name).await,
            ("static-creds", Some(name)) => static_roles::credentials(self, request, name).await,
            ("rotate-role", Some(name)) => static_roles::rotate(self, request, name).await,
            _ => Err(Refusal::UnsupportedPath),
        }
    }

    async fn revoke(&self, internal: &Value, _now: Timestamp) -> Result<(), Refusal> {
        creds::revoke(self, internal).await
    }

    async fn renew(&self, lease: Lease, seconds: u64, _now: Timestamp) -> Result<Lease, Refusal> {
        creds::renew(self, lease, seconds).await
    }

    async fn tend(&self, now: Timestamp) -> Result<(), Refusal> {
        self.rotation.rotate_due(now).await.map(drop)
    }
}

impl Database {
    async fn list<T: records::Named>(&self) -> Result<Answer, Refusal> {
        let names = records::names::<T>(&self.storage).await?;
        if names.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(names)) }
    }

    /// The configuration that a role names, where it allows the role.
    pub async fn config_for(&self, db_name: &str, role: &str) -> Result<Config, Refusal> {
        let config = records::find::<Config>(&self.storage, db_name).await?;
        let config = config.ok_or_else(|| no_config(db_name))?.value;
        if crate::names::allowed(role, &config.allowed_roles) {
            return Ok(config);
        }
        // Vault's status for it is 500.
        Err(Refusal::Failed { what: format!("{role:?} is not an allowed role"), source: None })
    }
}

/// The refusal where no configuration has a name. Vault's status for it is 500.
pub(crate) fn no_config(name: &str) -> Refusal {
    Refusal::Failed { what: format!("failed to find entry for connection with name: {name:?}"), source: None }
}

/// The folder of a path, and the name in it where there is one.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        None => (path, None),
        Some((folder, "")) => (folder, None),
        Some((folder, name)) => (folder, Some(name)),
    }
}
