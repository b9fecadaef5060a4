//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use rustix::process::Signal;
use secrecy::ExposeSecret;

use crate::place::{Place, cluster, run};
use crate::wire::Wire;

struct NatsFixture {
    place: Place,
}

#[async_trait]
impl Fixture for NatsFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.place.engine())
    }

    fn cluster(&self) -> ClusterSpec {
        cluster()
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>> {
        let text = |key: &str| delivery[key].expose_secret();
        let address = format!("{}:{}", text("host"), text("port"));
        let wire = Wire::connect(&address, Some((text("username"), text("password")))).await.ok()?;
        Some(Box::new(wire))
    }

    fn refuses_expired(&self) -> bool {
        false
    }

    /// The server ends the sessions of a user whose password is another.
    fn sessions_outlive_passwords(&self) -> bool {
        false
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        None
    }

    async fn kill(&self, cluster: &ClusterSpec) {
        self.place.signal(cluster, Signal::KILL);
    }

    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec) {
        let account = self.place.account(cluster, instance);
        self.place.edit(cluster, |text| without_account(&text, &account)).await;
    }

    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec) {
        let user = format!("\"{}\"", credential.username());
        let without = |text: String| text.lines().filter(|line| !line.contains(&user)).fold(String::new(), joined);
        self.place.edit(cluster, without).await;
    }

    async fn change_setting(&self, cluster: &ClusterSpec) -> bool {
        self.place.edit(cluster, |text| format!("{text}write_deadline: 3\n")).await;
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
impl Session for Wire {
    async fn is_open(&mut self) -> bool {
        Wire::is_open(self).await
    }
}

fn without_account(text: &str, account: &str) -> String {
    let (mut kept, mut within) = (String::new(), false);
    for line in text.lines() {
        within |= line == format!("  {account} {{");
        if !within {
            kept = joined(kept, line);
        }
        within &= line != "  }";
    }
    kept
}

fn joined(text: String, line: &str) -> String {
    text + line + "\n"
}

#[test]
fn nats_conforms() {
    let Some(place) = Place::new() else { return };
    run(conformance::run(&NatsFixture { place }));
}
