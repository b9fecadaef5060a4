//! Custody while it is unsealed: everything that is known only then, dropped as a whole when it is sealed.

use std::sync::Arc;
use std::time::Duration;

use mainstay_custody::Barrier;
use mainstay_secrets_engine::{Refusal, Storage};
use mainstay_types::{TenantName, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::directory::TokenDirectory;
use crate::draw;
use crate::kinds::Kinds;
use crate::lease::{Agenda, REACH_SECONDS, Rests};
use crate::mount::{Namespace, Namespaces};
use crate::token::{TokenKey, Tokens};

/// Where the salts are kept.
const SALTS: &str = "salts";

/// How often backends are given the time to tidy up and to rotate.
const TEND: Duration = Duration::from_secs(60);

/// How long one mount's housekeeping may keep the others waiting.
const TEND_TIMEOUT: Duration = Duration::from_secs(300);

/// What is known while custody is unsealed.
pub(crate) struct Open {
    pub(crate) barrier: Barrier,
    /// What belongs to no tenant alone: tokens and leases.
    pub(crate) core: Storage,
    pub(crate) tokens: Tokens,
    pub(crate) agenda: Agenda,
    pub(crate) rests: Rests,
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
        let agenda = Agenda::new(Timestamp::now().plus_seconds(REACH_SECONDS));
        let (rests, namespaces) = (Rests::default(), Namespaces::default());
        let open = Arc::new(Self { barrier, core, tokens, agenda, rests, salts, kinds, namespaces });
        tasks.spawn(open.clone().fill());
        tasks.spawn(open.clone().keep());
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

    async fn tend(open: Arc<Self>) {
        loop {
            let now = Timestamp::now();
            if let Err(refusal) = open.tend_all(now).await {
                tracing::warn!(%refusal, "custody's housekeeping did not get through, and is done again");
            }
            tokio::time::sleep(TEND).await;
        }
    }

    /// What one tenant's mount cannot do keeps no other from its own.
    async fn tend_all(&self, now: Timestamp) -> Result<(), Refusal> {
        if let Err(refusal) = self.end_what_layer_tokens_left(now).await {
            tracing::warn!(%refusal, "what ended tokens have left could not be taken back, and is tried again");
        }
        for tenant in self.tenants().await? {
            match self.namespace(&tenant).await {
                Ok(namespace) => self.tend_namespace(&namespace, now).await,
                Err(refusal) => tracing::error!(%tenant, %refusal, "a tenant's namespace cannot be opened"),
            }
        }
        Ok(())
    }

    async fn tend_namespace(&self, namespace: &Namespace, now: Timestamp) {
        let tenant = &namespace.tenant;
        for record in namespace.leaving() {
            if let Err(refusal) = self.leave(namespace, &record, now).await {
                tracing::warn!(%tenant, record.path, %refusal, "a mount cannot be removed yet, and is tried again");
            }
        }
        for mounted in namespace.mounts().values().filter(|mounted| !mounted.record.leaving) {
            let tended = timeout(TEND_TIMEOUT, mounted.backend.tend(now)).await;
            let path = &mounted.record.path;
            match tended {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => {
                    tracing::warn!(%tenant, path, %refusal, "a mount's housekeeping failed, and is done again");
                }
                Err(_) => tracing::warn!(%tenant, path, "a mount's housekeeping takes too long, and is done again"),
            }
        }
    }
}
