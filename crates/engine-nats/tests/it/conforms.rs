//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::recovery::Assertion;
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

/// The stream that the suite's tenants have.
const STREAM: &str = "DATA";
/// How often a message is published again that nobody took.
const TRIES: usize = 1_000;

impl NatsFixture {
    async fn wire(&self, delivery: &Delivery) -> Wire {
        self.try_wire(delivery).await.unwrap()
    }

    async fn try_wire(&self, delivery: &Delivery) -> Result<Wire, String> {
        let text = |key: &str| delivery[key].expose_secret();
        let address = format!("{}:{}", text("host"), text("port"));
        Wire::connect(&address, Some((text("username"), text("password")))).await
    }

    /// While the server reads its file, for a moment it hangs up on who comes in, and nobody takes messages of a stream; clients
    /// try again.
    async fn try_put(&self, delivery: &Delivery, key: &str, text: &str) -> Result<(), String> {
        let mut wire = self.try_wire(delivery).await?;
        let stream = format!(r#"{{"name":"{STREAM}","subjects":["data.>"],"storage":"file"}}"#);
        let made = wire.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
        let answer = wire.request(&format!("data.{key}"), text).await?;
        if made.contains("config") && answer.contains("\"seq\"") { Ok(()) } else { Err(made + &answer) }
    }
}

#[async_trait]
impl RecoveryFixture for NatsFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        for _ in 0..TRIES {
            if self.try_put(delivery, key, text).await.is_ok() {
                return;
            }
        }
        panic!("nobody takes messages of the stream");
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let mut wire = self.wire(delivery).await;
        let mut contents = Contents::new();
        let info = wire.request(&format!("$JS.API.STREAM.INFO.{STREAM}"), "").await.unwrap();
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let state = &info["state"];
        let number = |name: &str| state[name].as_u64().unwrap_or(0);
        for sequence in number("first_seq")..=number("last_seq") {
            let subject = format!("$JS.API.STREAM.MSG.GET.{STREAM}");
            let answer = wire.request(&subject, &format!(r#"{{"seq":{sequence}}}"#)).await.unwrap();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let message = &answer["message"];
            if let (Some(subject), Some(data)) = (message["subject"].as_str(), message["data"].as_str()) {
                let data = base64::prelude::BASE64_STANDARD.decode(data).unwrap();
                let key = subject.strip_prefix("data.").unwrap().to_owned();
                contents.insert(key, String::from_utf8(data).unwrap());
            }
        }
        contents
    }

    async fn wipe(&self, delivery: &Delivery) {
        let subject = format!("$JS.API.STREAM.DELETE.{STREAM}");
        let answer = self.wire(delivery).await.request(&subject, "").await.unwrap();
        assert!(answer.contains("\"success\":true"), "{answer}");
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        Some(Assertion { query: format!("message {STREAM} data.{key}"), expect: text.to_owned() })
    }

    fn scratch_processes(&self) -> Vec<String> {
        self.place.scratch_processes()
    }

    fn scratch_remains(&self) -> Vec<String> {
        self.place.scratch_remains()
    }
}

#[test]
fn accounts_come_back() {
    let Some(place) = Place::new() else { return };
    run(recovery::run(&NatsFixture { place }));
}

#[test]
fn nats_conforms() {
    let Some(place) = Place::new() else { return };
    run(conformance::run(&NatsFixture { place }));
}
