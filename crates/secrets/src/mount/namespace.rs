//! A tenant's namespace: its mounts and its policies.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mainstay_custody::{Barrier, Expect};
use mainstay_policy::Acl;
use mainstay_secrets_engine::{Backend, Batch, Mount, Refusal, Storage};
use mainstay_types::TenantName;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::kinds::Kinds;
use crate::mount::record::{MountConfig, MountRecord};
use crate::policies::Policies;

/// Where the mount table is kept.
const TABLE: &str = "core/mounts";

/// How many entries are deleted in one transaction when a mount goes: small enough not to hold up others.
const DELETED_AT_ONCE: usize = 256;

/// How long a mount that is removed waits for the requests that are in it, and how often it looks for them. Whatever one
/// of them hands out later is taken back by whoever hands it out.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One tenant's part of custody.
pub(crate) struct Namespace {
    pub(crate) tenant: TenantName,
    /// Everything of the tenant's.
    pub(crate) storage: Storage,
    pub(crate) policies: Policies,
    mounts: RwLock<Arc<Mounts>>,
    /// Held while mounts are changed: one change at a time.
    change: Mutex<()>,
    kinds: Arc<Kinds>,
}

/// The mounts by their paths.
type Mounts = BTreeMap<String, Arc<Mounted>>;

/// A mount and what serves it.
pub(crate) struct Mounted {
    pub(crate) record: MountRecord,
    pub(crate) mount: Arc<Mount>,
    pub(crate) backend: Arc<dyn Backend>,
}

/// Who serves a path.
pub(crate) enum Served {
    System,
    Token,
    Cubbyhole,
    Backend(Arc<Mounted>),
}

// === impl Namespace ===

impl Namespace {
    /// Opens a tenant's namespace; a new one gets a KV store at `secret/`.
    pub(crate) async fn open(tenant: TenantName, barrier: Barrier, kinds: Arc<Kinds>) -> Result<Self, Refusal> {
        let storage = Storage::new(barrier, format!("t/{tenant}/"));
        let policies = Policies::new(storage.below("policy/"));
        let records = match storage.value::<Vec<MountRecord>>(TABLE).await? {
            Some(records) => records,
            None => {
                let records = vec![first_mount()?];
                storage.put(TABLE, &records).await?;
                records
            }
        };
        let mut mounts = Mounts::new();
        for record in records {
            let mounted = open(&kinds, &storage, record).await?;
            mounts.insert(mounted.record.path.clone(), Arc::new(mounted));
        }
        let mounts = RwLock::new(Arc::new(mounts));
        Ok(Self { tenant, storage, policies, mounts, change: Mutex::new(()), kinds })
    }

    /// The mounts at this moment, those that are leaving too.
    pub(crate) fn mounts(&self) -> Arc<Mounts> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who serves a path, and the path below it.
    pub(crate) fn route<'a>(&self, path: &'a str) -> Option<(Served, &'a str)> {
        for (prefix, target) in
            [("sys/", Served::System), ("auth/token/", Served::Token), ("cubbyhole/", Served::Cubbyhole)]
        {
            if let Some(rest) = path.strip_prefix(prefix) {
                return Some((target, rest));
            }
        }
        let (mounted, rest) = self.mount_of(path)?;
        Some((Served::Backend(mounted), rest))
    }

    /// The mount that a path is in, and the path below it.
    pub(crate) fn mount_of<'a>(&self, path: &'a str) -> Option<(Arc<Mounted>, &'a str)> {
        let mounts = self.mounts();
        // A LIST of the mount itself may come without its slash.
        let whole = (!path.ends_with('/')).then(|| format!("{path}/"));
        if let Some(mounted) = whole.and_then(|whole| mounts.get(&whole)).filter(|mounted| !mounted.record.leaving) {
            return Some((mounted.clone(), ""));
        }
        let ends = path.match_indices('/').map(|(at, _)| at + 1);
        let found = ends.filter_map(|end| Some((mounts.get(&path[..end])?, &path[end..]))).next_back();
        found.filter(|(mounted, _)| !mounted.record.leaving).map(|(mounted, rest)| (mounted.clone(), rest))
    }

    /// The mount of an accessor's or a lease's uuid.
    pub(crate) fn mount_by_uuid(&self, uuid: &str) -> Option<Arc<Mounted>> {
        self.mounts().values().find(|mounted| mounted.record.uuid == uuid).cloned()
    }

    /// Mounts something new.
    pub(crate) async fn add(&self, record: MountRecord) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        let mounts = self.mounts();
        let path = &record.path;
        if let Some(other) = mounts.keys().find(|other| path.starts_with(*other) || other.starts_with(path)) {
            return Err(Refusal::invalid(format!("path is already in use at {other}")));
        }
        let mounted = open(&self.kinds, &self.storage, record).await?;
        let mut mounts = Mounts::clone(&mounts);
        mounts.insert(mounted.record.path.clone(), Arc::new(mounted));
        self.keep(mounts).await
    }

    /// Changes a mount, which is opened anew.
    pub(crate) async fn alter(
        &self,
        path: &str,
        change: impl FnOnce(&mut MountRecord) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        let mut mounts = Mounts::clone(&self.mounts());
        let old = mounts.remove(path).filter(|mounted| !mounted.record.leaving).ok_or_else(|| no_mount(path))?;
        let mut record = old.record.clone();
        change(&mut record)?;
        if record.path != path
            && let Some(other) = mounts.keys().find(|o| record.path.starts_with(*o) || o.starts_with(&record.path))
        {
            return Err(Refusal::invalid(format!("path is already in use at {other}")));
        }
        let mounted = open(&self.kinds, &self.storage, record).await?;
        mounts.insert(mounted.record.path.clone(), Arc::new(mounted));
        self.keep(mounts).await
    }

    /// Stops serving from a mount, and answers once the requests in it have ended, or take too long. Its leases can
    /// still be revoked until [`Namespace::finish_leaving`].
    pub(crate) async fn begin_leaving(&self, path: &str) -> Result<MountRecord, Refusal> {
        let serving = self.mounts().get(path).map(|mounted| (mounted.record.clone(), Arc::downgrade(mounted)));
        let (record, serving) = serving.ok_or_else(|| no_mount(path))?;
        if !record.leaving {
            self.alter(path, |record| {
                record.leaving = true;
                Ok(())
            })
            .await?;
            let ended = async {
                while serving.strong_count() > 0 {
                    sleep(LOOK_AGAIN).await;
                }
            };
            if timeout(REQUESTS_TIMEOUT, ended).await.is_err() {
                tracing::warn!(path, "a mount that is being removed still has requests in it");
            }
        }
        Ok(record)
    }

    /// The mounts that are leaving.
    pub(crate) fn leaving(&self) -> Vec<MountRecord> {
        let mounts = self.mounts();
        mounts.values().filter(|mounted| mounted.record.leaving).map(|mounted| mounted.record.clone()).collect()
    }

    /// Deletes what a mount that is leaving has kept, and then the mount. Begun again where it was interrupted.
    pub(crate) async fn finish_leaving(&self, record: &MountRecord) -> Result<(), Refusal> {
        let storage = self.storage.below(&folder(record));
        loop {
            let keys = storage.keys("", None, DELETED_AT_ONCE).await?;
            if keys.is_empty() {
                break;
            }
            let mut batch = Batch::default();
            for key in &keys {
                batch.delete(key, Expect::Anything);
            }
            storage.commit(batch).await?;
        }
        let _change = self.change.lock().await;
        let mut mounts = Mounts::clone(&self.mounts());
        // Another one may have come to this place meanwhile.
        if mounts.get(&record.path).is_none_or(|mounted| mounted.record.uuid != record.uuid) {
            return Ok(());
        }
        mounts.remove(&record.path);
        self.keep(mounts).await
    }

    /// The policies of these names as one, for checking.
    pub(crate) async fn acl(&self, names: &[String]) -> Result<Arc<Acl>, Refusal> {
        self.policies.acl(names).await
    }

    async fn keep(&self, mounts: Mounts) -> Result<(), Refusal> {
        let records: Vec<&MountRecord> = mounts.values().map(|mounted| &mounted.record).collect();
        self.storage.put(TABLE, &records).await?;
        *self.mounts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mounts);
        Ok(())
    }
}

async fn open(kinds: &Kinds, storage: &Storage, record: MountRecord) -> Result<Mounted, Refusal> {
    let mount = Arc::new(record.mount());
    let backend = kinds.open(&record, mount.clone(), storage.below(&folder(&record))).await?;
    Ok(Mounted { record, mount, backend })
}

/// Where a mount keeps its entries. Named by its uuid, so that a mount that moves does not have to take them along.
fn folder(record: &MountRecord) -> String {
    format!("mount/{}/", record.uuid)
}

/// What every tenant has from the first day.
fn first_mount() -> Result<MountRecord, Refusal> {
    let mut record = MountRecord::new("secret/".to_owned(), "kv")?;
    record.description = "key/value secrets of this tenant".to_owned();
    record.options = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
    record.config = MountConfig::default();
    Ok(record)
}

pub(crate) fn no_mount(path: &str) -> Refusal {
    Refusal::invalid(format!("no mount at {path:?}; `sys/mounts` and `sys/auth` list what is mounted"))
}

/// The namespaces that were touched since custody was unsealed.
#[derive(Default)]
pub(crate) struct Namespaces {
    open: RwLock<HashMap<TenantName, Arc<Namespace>>>,
    opening: Mutex<()>,
}

impl Namespaces {
    /// A tenant's namespace, where it has one.
    pub(crate) async fn find(
        &self,
        tenant: &TenantName,
        barrier: &Barrier,
        kinds: &Arc<Kinds>,
    ) -> Result<Option<Arc<Namespace>>, Refusal> {
        if let Some(namespace) = self.known(tenant) {
            return Ok(Some(namespace));
        }
        let storage = Storage::new(barrier.clone(), format!("t/{tenant}/"));
        match storage.value::<Vec<MountRecord>>(TABLE).await? {
            Some(_) => self.get(tenant, barrier, kinds).await.map(Some),
            None => Ok(None),
        }
    }

    /// A tenant's namespace, opened on the first touch.
    pub(crate) async fn get(
        &self,
        tenant: &TenantName,
        barrier: &Barrier,
        kinds: &Arc<Kinds>,
    ) -> Result<Arc<Namespace>, Refusal> {
        if let Some(namespace) = self.known(tenant) {
            return Ok(namespace);
        }
        let _opening = self.opening.lock().await;
        if let Some(namespace) = self.known(tenant) {
            return Ok(namespace);
        }
        let namespace = Arc::new(Namespace::open(tenant.clone(), barrier.clone(), kinds.clone()).await?);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), namespace.clone());
        Ok(namespace)
    }

    fn known(&self, tenant: &TenantName) -> Option<Arc<Namespace>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }
}
