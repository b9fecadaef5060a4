//! One cluster with tenants on it, and an archive for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_types::{InstanceId, Presence};
use secrecy::SecretString;
use tokio::task::JoinHandle;

use super::super::{Delivery, specs};
use super::{Contents, MemoryArchive, OPERATION_PATIENCE, RecoveryFixture};
use crate::recovery::{Assertion, Backup, Recovery, Rehearsal, Restored, Scope, Until};
use crate::{ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec};

pub(super) struct Scene<'a> {
    pub fixture: &'a dyn RecoveryFixture,
    pub engine: Arc<dyn Engine>,
    pub spec: ClusterSpec,
    pub archive: MemoryArchive,
    tenants: AtomicU64,
    texts: AtomicU64,
}

/// An instance with a binding.
pub(super) struct Tenant {
    pub instance: InstanceSpec,
    pub credential: CredentialSpec,
    pub delivery: Delivery,
}

impl<'a> Scene<'a> {
    pub async fn new(fixture: &'a dyn RecoveryFixture) -> Self {
        let mut spec = fixture.cluster();
        let engine = fixture.engine().await;
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let scene = Self {
            fixture,
            engine,
            spec,
            archive: MemoryArchive::default(),
            tenants: AtomicU64::new(70),
            texts: AtomicU64::new(0),
        };
        scene.recovery().clear_scratch().await.unwrap();
        scene
    }

    pub fn recovery(&self) -> &dyn Recovery {
        self.engine.recovery().expect("an engine with this suite brings data back")
    }

    /// Follows the log as the control plane does, where there is one.
    pub fn follow_log(&self) -> JoinHandle<()> {
        let (engine, spec, archive) = (self.engine.clone(), self.spec.clone(), self.archive.archive());
        tokio::spawn(async move {
            let recovery = engine.recovery().expect("an engine with this suite brings data back");
            if recovery.has_log() {
                let reason = recovery.follow_log(&spec, &archive).await;
                panic!("the log is not followed any more: {reason}");
            }
        })
    }

    pub async fn tenant(&self) -> Tenant {
        let (instance, credential) = specs(self.tenants.fetch_add(1, Ordering::Relaxed));
        let password = SecretString::from("conformance-recovery-password-0123456789");
        self.engine.provision(&self.spec, &instance).await.unwrap();
        self.engine.bind(&self.spec, &instance, &credential, &password).await.unwrap();
        let delivery = self.engine.delivery(&self.spec, &instance, &credential, &password);
        Tenant { instance, credential, delivery }
    }

    pub async fn remove(&self, tenant: Tenant) {
        self.engine.unbind(&self.spec, &tenant.credential).await.unwrap();
        self.engine.deprovision(&self.spec, &tenant.instance).await.unwrap();
    }

    /// Writes a text that was never written before.
    pub async fn put(&self, tenant: &Tenant, key: &str) -> String {
        let text = format!("text-{}", self.texts.fetch_add(1, Ordering::Relaxed));
        self.fixture.put(&tenant.delivery, key, &text).await;
        text
    }

    pub async fn contents(&self, tenant: &Tenant) -> Contents {
        self.fixture.contents(&tenant.delivery).await
    }

    /// Backs these up, or the first of them where an engine backs instances up one by one.
    pub async fn back_up(&self, tenants: &[&Tenant]) -> Backup {
        let mut instances: Vec<_> = tenants.iter().map(|tenant| tenant.instance.clone()).collect();
        if self.recovery().scope() == Scope::Instance {
            instances.truncate(1);
        }
        self.archive.forget_progress();
        let archive = self.archive.archive();
        in_time(self.recovery().back_up(&self.spec, &instances, &archive)).await.unwrap()
    }

    pub async fn restore(
        &self,
        to: &Tenant,
        origin: &Tenant,
        backup: &Backup,
        until: Until,
    ) -> Result<Restored, EngineError> {
        self.restore_of(to, &origin.instance.id, backup, until).await
    }

    pub async fn restore_of(
        &self,
        to: &Tenant,
        origin: &InstanceId,
        backup: &Backup,
        until: Until,
    ) -> Result<Restored, EngineError> {
        self.archive.forget_progress();
        let archive = self.archive.archive();
        in_time(self.recovery().restore_instance(&self.spec, &to.instance, origin, backup, until, &archive)).await
    }

    pub async fn restore_cluster(&self, backup: &Backup, until: Until) -> Result<Restored, EngineError> {
        self.archive.forget_progress();
        in_time(self.recovery().restore_cluster(&self.spec, backup, until, &self.archive.archive())).await
    }

    pub async fn rehearse(
        &self,
        tenant: &Tenant,
        backup: &Backup,
        assertions: &[Assertion],
    ) -> Result<Rehearsal, EngineError> {
        self.archive.forget_progress();
        let archive = self.archive.archive();
        in_time(self.recovery().rehearse(&self.spec, &tenant.instance, backup, assertions, &archive)).await
    }

    /// The reconcile loop would find nothing to do.
    pub async fn is_as_wanted(&self, tenants: &[&Tenant]) {
        let instances: Vec<_> = tenants.iter().map(|tenant| tenant.instance.clone()).collect();
        let credentials: Vec<_> = tenants.iter().map(|tenant| tenant.credential.clone()).collect();
        let seen = self.engine.observe(&self.spec, &instances, &credentials).await.unwrap();
        assert!(seen.instances.values().all(|presence| *presence == Presence::Present), "{seen:?}");
        assert!(seen.credentials.values().all(|seen| seen.presence == Presence::Present), "{seen:?}");
        assert_eq!(seen.changed_settings, Vec::<String>::new());
    }

    pub async fn end(self) {
        self.engine.remove(&self.spec).await.unwrap();
        assert_eq!(self.fixture.remains(&self.spec), Vec::<String>::new(), "removal leaves nothing");
        assert_eq!(self.fixture.scratch_processes(), Vec::<String>::new());
        assert_eq!(self.fixture.scratch_remains(), Vec::<String>::new());
    }
}

/// Waits for an operation no longer than any may take.
async fn in_time<T>(operation: impl Future<Output = T>) -> T {
    tokio::time::timeout(OPERATION_PATIENCE, operation).await.expect("an operation on a small instance takes seconds")
}
