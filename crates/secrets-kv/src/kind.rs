//! The kinds by which the engine is mounted.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_secrets_engine::{Backend, Class, Kind, Mount, Refusal, Storage};

use crate::plain::Plain;
use crate::versioned::Versioned;

/// `kv`: the mount's option `version` says which version; without it, it is version 1.
pub struct KvKind;

/// `kv-v2`: version 2 whatever the options say. Clients write it for `kv` with the option `version=2`.
pub struct KvV2Kind;

#[async_trait]
impl Kind for KvKind {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        match mount.options.get("version").map_or("", String::as_str) {
            "" | "1" => Ok(Arc::new(Plain::new(storage))),
            "2" => open_versioned(storage).await,
            other => Err(Refusal::Invalid(format!("the option version of a kv mount is 1 or 2, not {other:?}"))),
        }
    }
}

#[async_trait]
impl Kind for KvV2Kind {
    fn name(&self) -> &'static str {
        "kv-v2"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, _mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        open_versioned(storage).await
    }
}

async fn open_versioned(storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
    let backend = Versioned::open(storage).await?;
    backend.take_over_version_1().await?;
    Ok(Arc::new(backend))
}
