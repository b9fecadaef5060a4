//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Connection;
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;

use crate::place::{Place, cluster, connect, processes, run};

struct RabbitmqFixture {
    place: Place,
}

struct Client(Connection);

#[async_trait]
impl Fixture for RabbitmqFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.place.engine())
    }

    fn cluster(&self) -> ClusterSpec {
        cluster()
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

#[test]
fn rabbitmq_conforms() {
    run(conformance::run(&RabbitmqFixture { place: Place::new() }));
}
