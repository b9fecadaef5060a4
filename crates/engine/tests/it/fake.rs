//! The fake engine passes the suite that real ones pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use async_trait::async_trait;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{Delivery, Fixture, Session, run};
use mainstay_engine::fake::{FakeEngine, REFUSED_STATEMENT};
use mainstay_engine::recovery::Assertion;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_types::{Health, NodeName, Parameters, Plan};
use secrecy::ExposeSecret;

struct FakeFixture {
    engine: FakeEngine,
    clusters: AtomicU16,
}

struct FakeSession {
    engine: FakeEngine,
    number: u64,
}

#[async_trait]
impl Fixture for FakeFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    fn cluster(&self) -> ClusterSpec {
        let number = self.clusters.fetch_add(1, Ordering::Relaxed);
        ClusterSpec {
            name: format!("fake-{number}").parse().unwrap(),
            node: NodeName::local(),
            plan: Plan::Shared,
            port: 7_000 + number,
            parameters: Parameters::default(),
            identity: None,
        }
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>> {
        let text = |key| delivery[key].expose_secret();
        let number = self.engine.open_session(
            text("port").parse().unwrap(),
            text("database"),
            text("username"),
            text("password"),
        )?;
        Some(Box::new(FakeSession { engine: self.engine.clone(), number }))
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        Some((vec!["ALLOW".to_owned()], REFUSED_STATEMENT.to_owned()))
    }

    async fn kill(&self, cluster: &ClusterSpec) {
        self.engine.end_process(&cluster.name, "its process was ended by signal 9");
    }

    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec) {
        self.engine.drop_instance(&cluster.name, &instance.id);
    }

    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec) {
        self.engine.drop_credential(&cluster.name, &credential.username());
    }

    async fn change_setting(&self, cluster: &ClusterSpec) -> bool {
        self.engine.change_setting(&cluster.name, "work_mem was changed");
        true
    }

    async fn lose_data(&self, cluster: &ClusterSpec) {
        self.engine.lose_data(&cluster.name);
    }

    fn remains(&self, _: &ClusterSpec) -> Vec<String> {
        Vec::new()
    }

    fn log(&self, _: &ClusterSpec) -> String {
        String::new()
    }
}

#[async_trait]
impl RecoveryFixture for FakeFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        let (port, instance) = address(delivery);
        assert!(self.engine.put(port, instance, key, text));
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let (port, instance) = address(delivery);
        self.engine.contents(port, instance).unwrap()
    }

    async fn wipe(&self, delivery: &Delivery) {
        let (port, instance) = address(delivery);
        assert!(self.engine.wipe(port, instance));
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        Some(Assertion { query: key.to_owned(), expect: text.to_owned() })
    }

    fn scratch_processes(&self) -> Vec<String> {
        Vec::new()
    }

    fn scratch_remains(&self) -> Vec<String> {
        Vec::new()
    }
}

fn address(delivery: &Delivery) -> (u16, &str) {
    (delivery["port"].expose_secret().parse().unwrap(), delivery["database"].expose_secret())
}

#[async_trait]
impl Session for FakeSession {
    async fn is_open(&mut self) -> bool {
        self.engine.session_is_open(self.number)
    }
}

#[tokio::test]
async fn the_fake_engine_conforms() {
    run(&FakeFixture { engine: FakeEngine::default(), clusters: AtomicU16::new(0) }).await;
}

#[tokio::test]
async fn the_fake_engine_brings_data_back() {
    recovery::run(&FakeFixture { engine: FakeEngine::default(), clusters: AtomicU16::new(0) }).await;
}

#[tokio::test]
async fn an_end_is_reported_with_its_cause() {
    let engine = FakeEngine::default();
    let spec = FakeFixture { engine: engine.clone(), clusters: AtomicU16::new(0) }.cluster();
    engine.start(&spec).await.unwrap();
    let ended = tokio::spawn({
        let (engine, spec) = (engine.clone(), spec.clone());
        async move { engine.ended(&spec).await }
    });
    engine.end_process(&spec.name, "a test ended it");
    assert_eq!(ended.await.unwrap(), "a test ended it");
    let health = engine.observe(&spec, &[], &[]).await.unwrap().health;
    assert_eq!(health, Health::Down { cause: "a test ended it".to_owned() });
}
