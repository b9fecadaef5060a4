//! Custody while it is unsealed: everything that is known only then, dropped as a whole when it is sealed.

use std::sync::Arc;
use std::time::Duration;

use mainstay_custody::Barrier;
use mainstay_secrets_engine::{Refusal, Storage};
use mainstay_types::{TenantName, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::directory::TokenDirectory;
use crate::draw;
use crate::kinds::Kinds;
use crate::lease::Agenda;
use crate::mount::{Namespace, Namespaces};
use crate::token::{TokenKey, Tokens};

/// Where the salts are kept.
const SALTS: &str = "salts";

/// How often backends are given the time to tidy up and to rotate.
const TEND: Duration = Duration::from_secs(60);

/// What is known while custody is unsealed.
pub(crate) struct Open {
    pub(crate) barrier: Barrier,
    /// What belongs to no tenant alone: tokens and leases.
    pub(crate) core: Storage,
    pub(crate) tokens: Tokens,
    pub(crate) agenda: Agenda,
    pub(crate) salts: Salts,
    pub(crate) kinds: Arc<Kinds>,
    namespaces: Namespaces,
}

/// What hashes are keyed with, so that the same text gives another hash in every installation.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Salts {
    tokens: [u8; 32],
    pub(crate) audit: [u8; 32],
}

// === impl Open ===

impl Open {
    /// Reads what there is behind the barrier, and begins to keep its leases. The tasks end when `tasks` is dropped.
    pub(crate) async fn begin(
        barrier: Barrier,
        kinds: Arc<Kinds>,
        directory: Arc<dyn TokenDirectory>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Arc<Self>, Refusal> {
        let core = Storage::new(barrier.clone(), "core/");
        let salts = match core.value::<Salts>(SALTS).await? {
            Some(salts) => salts,
            None => {
                let salts = Salts { tokens: draw::key()?, audit: draw::key()? };
                core.put(SALTS, &salts).await?;
                salts
            }
        };
        let tokens = Tokens::new(core.below("token/"), salts.tokens, directory);
        let namespaces = Namespaces::default();
        let open = Arc::new(Self { barrier, core, tokens, agenda: Agenda::default(), salts, kinds, namespaces });
        tasks.spawn(Self::fill_and_keep(open.clone()));
        tasks.spawn(Self::tend(open.clone()));
        Ok(open)
    }

    /// A tenant's namespace.
    pub(crate) async fn namespace(&self, tenant: &TenantName) -> Result<Arc<Namespace>, Refusal> {
        self.namespaces.get(tenant, &self.barrier, &self.kinds).await
    }

    /// A tenant's namespace, where anybody has ever acted in it.
    pub(crate) async fn existing_namespace(&self, tenant: &TenantName) -> Result<Option<Arc<Namespace>>, Refusal> {
        self.namespaces.find(tenant, &self.barrier, &self.kinds).await
    }

    /// The tenants that have a namespace.
    pub(crate) async fn tenants(&self) -> Result<Vec<TenantName>, Refusal> {
        let folders = Storage::new(self.barrier.clone(), "t/").list("").await?;
        Ok(folders.iter().filter_map(|folder| folder.strip_suffix('/')?.parse().ok()).collect())
    }

    /// Where a token keeps what is its own.
    pub(crate) fn cubbyhole(&self, key: &TokenKey) -> Storage {
        self.core.below(&format!("cubbyhole/{}/", key.0))
    }

    /// Removes what a token has kept for itself.
    pub(crate) async fn clear_cubbyhole(&self, key: &TokenKey) -> Result<(), Refusal> {
        const PAGE: usize = 256;
        let cubbyhole = self.cubbyhole(key);
        loop {
            let keys = cubbyhole.keys("", None, PAGE).await?;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                cubbyhole.delete(&key).await?;
            }
        }
    }

    async fn fill_and_keep(open: Arc<Self>) {
        /// While storage does not answer the leases cannot be seen; they are asked for again after this.
        const AGAIN: Duration = Duration::from_secs(5);
        while let Err(refusal) = open.fill_agenda().await {
            tracing::warn!(%refusal, "the leases cannot be read, and are asked for again");
            tokio::time::sleep(AGAIN).await;
        }
        open.keep().await;
    }

    async fn tend(open: Arc<Self>) {
        loop {
            let now = Timestamp::now();
            if let Err(refusal) = open.tend_all(now).await {
                tracing::warn!(%refusal, "custody's housekeeping did not get through, and is done again");
            }
            tokio::time::sleep(TEND).await;
        }
    }

    async fn tend_all(&self, now: Timestamp) -> Result<(), Refusal> {
        self.end_what_layer_tokens_left(now).await?;
        for tenant in self.tenants().await? {
            let namespace = self.namespace(&tenant).await?;
            for record in namespace.leaving() {
                self.leave(&namespace, &record).await?;
            }
            for mounted in namespace.mounts().values().filter(|mounted| !mounted.record.leaving) {
                if let Err(refusal) = mounted.backend.tend(now).await {
                    let path = &mounted.record.path;
                    tracing::warn!(%tenant, path, %refusal, "a mount's housekeeping failed, and is done again");
                }
            }
        }
        Ok(())
    }
}
