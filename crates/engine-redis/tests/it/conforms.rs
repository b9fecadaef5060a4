//! The suite that every engine passes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{self, Delivery, Fixture};
use mainstay_engine::recovery::Assertion;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_redis::Flavour;
use mainstay_types::Plan;
use secrecy::ExposeSecret;

use crate::place::{Place, Session, cluster, eventually, run_both};

struct RedisFixture {
    place: Place,
    flavour: Flavour,
    plan: Plan,
    /// What the keys of the tenant who wrote last begin with.
    prefix: Mutex<String>,
}

impl RedisFixture {
    fn new(place: Place, flavour: Flavour, plan: Plan) -> Self {
        Self { place, flavour, plan, prefix: Mutex::default() }
    }
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

    /// What was acknowledged is handed to the system first: a server holds it back while the disk is slow (see `recovery.rs`).
    async fn kill(&self, cluster: &ClusterSpec) {
        let admin = self.place.admin(cluster).await;
        eventually("the append-only file has all", || {
            let mut admin = admin.clone();
            async move {
                let info: String = admin.say("INFO persistence").await.unwrap();
                !info.contains("aof_enabled:1") || info.contains("aof_buffer_length:0\r")
            }
        })
        .await;
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
    run_both(
        |place, flavour| async move { conformance::run(&RedisFixture::new(place, flavour, Plan::Dedicated)).await },
    );
}

/// Tenants of a shared server can not list their keys, so that the suite's write down what they have.
const INDEX: &str = "index";

#[async_trait]
impl RecoveryFixture for RedisFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        let mut session = Session::connect(delivery["uri"].expose_secret()).await.unwrap();
        let prefix = delivery["prefix"].expose_secret();
        let mut both = redis::pipe();
        both.atomic().sadd(format!("{prefix}{INDEX}"), key).ignore().set(format!("{prefix}{key}"), text).ignore();
        both.query_async::<()>(&mut session.0).await.unwrap();
        prefix.clone_into(&mut self.prefix.lock().unwrap());
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let mut session = Session::connect(delivery["uri"].expose_secret()).await.unwrap();
        let prefix = delivery["prefix"].expose_secret();
        let keys: Vec<String> = session.say(&format!("SMEMBERS {prefix}{INDEX}")).await.unwrap();
        let mut contents = Contents::new();
        for key in keys {
            let text = session.say(&format!("GET {prefix}{key}")).await.unwrap();
            contents.insert(key, text);
        }
        contents
    }

    async fn wipe(&self, delivery: &Delivery) {
        let mut keys: Vec<_> = self.contents(delivery).await.into_keys().collect();
        keys.push(INDEX.to_owned());
        let mut session = Session::connect(delivery["uri"].expose_secret()).await.unwrap();
        for key in keys {
            session.done(&format!("DEL {}{key}", delivery["prefix"].expose_secret())).await;
        }
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        let query = format!("GET {}{key}", self.prefix.lock().unwrap());
        Some(Assertion { query, expect: text.to_owned() })
    }

    fn scratch_processes(&self) -> Vec<String> {
        self.place.scratch_processes()
    }

    fn scratch_remains(&self) -> Vec<String> {
        self.place.scratch_remains()
    }
}

#[test]
fn a_shared_cluster_comes_back() {
    run_both(|place, flavour| async move { recovery::run(&RedisFixture::new(place, flavour, Plan::Shared)).await });
}

#[test]
fn a_shared_cluster_conforms() {
    run_both(|place, flavour| async move { conformance::run(&RedisFixture::new(place, flavour, Plan::Shared)).await });
}
