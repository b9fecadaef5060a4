//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_engine::conformance::{self, Delivery, Fixture};
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_redis::Flavour;
use mainstay_types::Plan;
use secrecy::ExposeSecret;

use crate::place::{Place, Session, cluster, run_both};

struct RedisFixture {
    place: Place,
    flavour: Flavour,
    plan: Plan,
}

#[async_trait]
impl Fixture for RedisFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.place.engine(self.flavour))
    }

    fn cluster(&self) -> ClusterSpec {
        let parameters: &[_] = if self.plan == Plan::Dedicated { &[("persistence", "durable")] } else { &[] };
        cluster(self.flavour, self.plan, parameters)
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn conformance::Session>> {
        Some(Box::new(Session::connect(delivery["uri"].expose_secret()).await.ok()?))
    }

    fn refuses_expired(&self) -> bool {
        false
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        None
    }

    async fn kill(&self, cluster: &ClusterSpec) {
        self.place.kill(cluster);
    }

    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec) {
        self.place.admin(cluster).await.done(&format!("ACL DELUSER i_{}", instance.id.suffix())).await;
    }

    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec) {
        self.place.admin(cluster).await.done(&format!("ACL DELUSER {}", credential.username())).await;
    }

    async fn change_setting(&self, cluster: &ClusterSpec) -> bool {
        self.place.admin(cluster).await.done("CONFIG SET maxmemory-policy allkeys-random appendfsync no").await;
        true
    }

    async fn lose_data(&self, cluster: &ClusterSpec) {
        std::fs::remove_dir_all(self.place.data(cluster)).unwrap();
    }

    fn remains(&self, cluster: &ClusterSpec) -> Vec<String> {
        let directory = self.place.root(cluster);
        directory.exists().then(|| directory.display().to_string()).into_iter().collect()
    }

    fn log(&self, cluster: &ClusterSpec) -> String {
        self.place.log(cluster)
    }
}

#[async_trait]
impl conformance::Session for Session {
    async fn is_open(&mut self) -> bool {
        self.say::<()>("PING").await.is_ok()
    }
}

#[test]
fn a_durable_dedicated_cluster_conforms() {
    run_both(|place, flavour| async move {
        conformance::run(&RedisFixture { place, flavour, plan: Plan::Dedicated }).await
    });
}

#[test]
fn a_shared_cluster_conforms() {
    run_both(
        |place, flavour| async move { conformance::run(&RedisFixture { place, flavour, plan: Plan::Shared }).await },
    );
}
