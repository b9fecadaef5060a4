//! An engine that misbehaves in ways that no engine should: it panics, and its looks come late.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use mainstay_engine::fake::{FakeEngine, Operation};
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started};
use mainstay_types::{BindingId, ClusterName, Observation, Offering, Plan};
use secrecy::SecretString;
use tokio::sync::watch;

use crate::harness::{Ground, bind, shared, username};

/// The fake engine behind a clumsy hand.
struct Clumsy {
    inner: FakeEngine,
    /// So many calls of `bind` panic.
    panics: AtomicU32,
    /// The credential that is never made.
    refused: OnceLock<String>,
    /// How many looks were taken, told or not.
    looks: watch::Sender<usize>,
    /// Looks are told of only while this is true.
    tells: watch::Sender<bool>,
}

impl Clumsy {
    fn new(inner: FakeEngine, panics: u32) -> Arc<Self> {
        let (looks, tells) = (watch::Sender::new(0), watch::Sender::new(true));
        Arc::new(Self { inner, panics: panics.into(), refused: OnceLock::new(), looks, tells })
    }
}

#[async_trait]
impl Engine for Clumsy {
    fn offering(&self) -> &Offering {
        self.inner.offering()
    }

    fn host(&self) -> IpAddr {
        self.inner.host()
    }

    async fn availability(&self) -> Availability {
        self.inner.availability().await
    }

    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError> {
        self.inner.start(cluster).await
    }

    async fn ended(&self, cluster: &ClusterSpec) -> String {
        self.inner.ended(cluster).await
    }

    async fn observe(
        &self,
        cluster: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        let observation = self.inner.observe(cluster, instances, credentials).await;
        self.looks.send_modify(|looks| *looks += 1);
        // It ends with the test when the sender goes first.
        let _ = self.tells.subscribe().wait_for(|tells| *tells).await;
        observation
    }

    async fn reconfigure(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        self.inner.reconfigure(cluster).await
    }

    async fn stop(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        self.inner.stop(cluster).await
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        self.inner.stop_all().await
    }

    async fn remove(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        self.inner.remove(cluster).await
    }

    async fn provision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.inner.provision(cluster, instance).await
    }

    async fn deprovision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.inner.deprovision(cluster, instance).await
    }

    async fn bind(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "the engine has a mistake");
        if self.refused.get() == Some(&credential.username()) {
            return Err(EngineError::transient("the role is locked by another session"));
        }
        self.inner.bind(cluster, instance, credential, password).await
    }

    async fn unbind(&self, cluster: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        self.inner.unbind(cluster, credential).await
    }

    fn delivery(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        self.inner.delivery(cluster, instance, credential, password)
    }

    async fn figures(&self, cluster: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        self.inner.figures(cluster).await
    }
}

#[tokio::test]
async fn a_step_that_panics_is_tried_again_and_ends_nothing_else() {
    let layer = Ground::in_memory().await.with_engine(|fake| Clumsy::new(fake, 2)).start().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    let id = layer.instance("shop").id.clone();
    let mut hold = layer.fake().hold(Operation::Provision);
    let next = layer.create("next", Plan::Shared).await;
    hold.reached(1).await;
    let (binding, bind) = layer.bind("shop", 3600).await;
    layer
        .eventually("there is an explanation", || {
            layer.control.trouble_with(&id).is_some_and(|trouble| trouble.contains("the step panicked"))
        })
        .await;
    layer.succeeded(&bind).await;
    drop(hold);
    layer.succeeded(&next).await;
    assert!(layer.connects(&binding).await);
    let provisioned = layer.fake().calls().iter().filter(|(call, _)| *call == Operation::Provision).count();
    assert_eq!(provisioned, 2, "what was in progress beside it goes on, and is not begun a second time");
}

/// A look that began before a repair was done tells of the time before it; the repair is not done twice.
#[tokio::test]
async fn a_late_look_is_not_believed_about_what_changed_meanwhile() {
    let ground = Ground::in_memory().await;
    let clumsy = Clumsy::new(ground.fake.clone(), 0);
    let layer = ground.with_engine(|_| clumsy.clone()).start().await;
    let binding = layer.bound("shop").await;
    let mut hold = layer.fake().hold(Operation::Bind);
    layer.fake().drop_credential(&shared(), &username(&binding, 1));
    hold.reached(1).await;

    let mut looks = clumsy.looks.subscribe();
    clumsy.tells.send_replace(false);
    let taken = *looks.borrow_and_update();
    // One look may have been under way; the one after it is held for certain.
    looks.wait_for(|looks| *looks > taken).await.unwrap();
    drop(hold);
    layer.event("v1.binding.repaired").await;
    clumsy.tells.send_replace(true);
    let told = *looks.borrow_and_update();
    looks.wait_for(|looks| *looks > told + 1).await.unwrap();
    layer.bound("next").await;
    assert_eq!(layer.count("v1.binding.repaired").await, 1);
}

/// So it is with the whole cluster: a look that was taken before the end does not make it serve again.
#[tokio::test]
async fn a_late_look_is_not_believed_about_a_process_that_ended_meanwhile() {
    let ground = Ground::in_memory().await;
    let clumsy = Clumsy::new(ground.fake.clone(), 0);
    let layer = ground.with_engine(|_| clumsy.clone()).start().await;
    layer.bound("shop").await;
    let mut looks = clumsy.looks.subscribe();
    for round in 1..=2 {
        layer.eventually("it is seen serving", || layer.control.trouble_with_cluster(&shared()).is_none()).await;
        clumsy.tells.send_replace(false);
        let taken = *looks.borrow_and_update();
        looks.wait_for(|looks| *looks > taken).await.unwrap();
        layer.fake().end_process(&shared(), "it was killed by signal 9");
        layer.eventually("its end is noticed", || layer.control.trouble_with_cluster(&shared()).is_some()).await;
        clumsy.tells.send_replace(true);
        layer.nth(round, "v1.engine.restarted").await;
    }
    // Each end counts once: two are no crash loop.
    layer.bound("next").await;
    assert_eq!((layer.restarts().await.len(), layer.count("v1.cluster.failed").await), (2, 0));
}

#[tokio::test]
async fn a_credential_that_is_not_made_holds_up_none_of_the_others() {
    let ground = Ground::in_memory().await;
    let clumsy = Clumsy::new(ground.fake.clone(), 0);
    let layer = ground.with_engine(|_| clumsy.clone()).start().await;
    layer.succeeded(&layer.create("shop", Plan::Shared).await).await;
    // The first in the order of the plan, which goes by the id.
    let mut locked = bind("shop", 3600);
    locked.id = BindingId::from_random(0);
    clumsy.refused.set(username(&locked.id, 1)).unwrap();
    let id = locked.id.clone();
    layer.submit(locked).await.unwrap();
    let instance = layer.instance("shop").id.clone();
    layer.eventually("it was tried", || layer.control.trouble_with(&instance).is_some()).await;
    let (other, operation) = layer.bind("shop", 3600).await;
    layer.succeeded(&operation).await;
    assert!(layer.connects(&other).await && !layer.connects(&id).await);
}
