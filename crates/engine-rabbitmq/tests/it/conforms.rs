//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Connection;
use lapin::options::{BasicGetOptions, ConfirmSelectOptions, QueueDeleteOptions};
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::recovery::Assertion;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;

use crate::place::{Place, cluster, connect, declare, processes, publish, run};

struct RabbitmqFixture {
    place: Place,
    cluster: ClusterSpec,
}

struct Client(Connection);

#[async_trait]
impl Fixture for RabbitmqFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.place.engine())
    }

    fn cluster(&self) -> ClusterSpec {
        self.cluster.clone()
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>> {
        let connection = connect(delivery["uri"].expose_secret()).await.ok()?;
        Some(Box::new(Client(connection)))
    }

    fn refuses_expired(&self) -> bool {
        false
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        None
    }

    async fn kill(&self, cluster: &ClusterSpec) {
        kill_process(Pid::from_raw(self.place.pid(cluster)).unwrap(), Signal::KILL).unwrap();
    }

    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec) {
        self.place.administer(cluster, "DELETE", &format!("vhosts/i_{}", instance.id.suffix()), "");
    }

    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec) {
        self.place.administer(cluster, "DELETE", &format!("users/{}", credential.username()), "");
    }

    async fn change_setting(&self, cluster: &ClusterSpec) -> bool {
        let guest = r#"{"password": "guest", "tags": "administrator"}"#;
        self.place.administer(cluster, "PUT", "users/guest", guest);
        true
    }

    async fn lose_data(&self, cluster: &ClusterSpec) {
        std::fs::remove_dir_all(self.place.path(cluster, "data")).unwrap();
    }

    fn remains(&self, cluster: &ClusterSpec) -> Vec<String> {
        let directory = self.place.path(cluster, "");
        let mut remains: Vec<String> =
            directory.exists().then(|| directory.display().to_string()).into_iter().collect();
        remains.extend(processes(&directory).iter().map(|pid| format!("process {pid}")));
        remains
    }

    fn log(&self, cluster: &ClusterSpec) -> String {
        self.place.log(cluster)
    }
}

#[async_trait]
impl Session for Client {
    async fn is_open(&mut self) -> bool {
        match self.0.create_channel().await {
            Ok(channel) => channel.close(200, "".into()).await.is_ok(),
            Err(_) => false,
        }
    }
}

/// The queue that the suite's tenants have; each of its messages is a key and a text.
const QUEUE: &str = "data";

#[async_trait]
impl RecoveryFixture for RabbitmqFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        let connection = connect(delivery["uri"].expose_secret()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        declare(&channel, QUEUE, None).await.unwrap();
        assert!(publish(&channel, QUEUE, format!("{key}={text}").as_bytes()).await.unwrap());
        connection.close(200, "".into()).await.unwrap();
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let connection = connect(delivery["uri"].expose_secret()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, QUEUE, None).await.unwrap();
        let mut contents = Contents::new();
        // Nothing is acknowledged, so that all of it is put back when the session ends.
        while let Some(found) = channel.basic_get(QUEUE.into(), BasicGetOptions { no_ack: false }).await.unwrap() {
            let message = String::from_utf8(found.delivery.data.clone()).unwrap();
            let (key, text) = message.split_once('=').unwrap();
            contents.insert(key.to_owned(), text.to_owned());
        }
        connection.close(200, "".into()).await.unwrap();
        contents
    }

    async fn wipe(&self, delivery: &Delivery) {
        let connection = connect(delivery["uri"].expose_secret()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
        connection.close(200, "".into()).await.unwrap();
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        Some(Assertion { query: format!("queue {QUEUE} 1"), expect: format!("{key}={text}") })
    }

    fn scratch_processes(&self) -> Vec<String> {
        Vec::new()
    }

    fn scratch_remains(&self) -> Vec<String> {
        if !self.place.path(&self.cluster, "ports.json").exists() {
            return Vec::new();
        }
        let hosts = self.place.administer(&self.cluster, "GET", "vhosts?columns=name", "");
        let hosts: Vec<serde_json::Value> = serde_json::from_str(&hosts).unwrap();
        let names = hosts.iter().map(|host| host["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with("s_")).collect()
    }
}

#[test]
fn virtual_hosts_come_back() {
    run(recovery::run(&RabbitmqFixture { place: Place::new(), cluster: cluster() }));
}

#[test]
fn rabbitmq_conforms() {
    run(conformance::run(&RabbitmqFixture { place: Place::new(), cluster: cluster() }));
}
