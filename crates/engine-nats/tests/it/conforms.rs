//! The suite that every engine passes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::recovery::Assertion;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use tokio::time::Instant;

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
        Some(Box::new(self.wire(delivery).await.ok()?))
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
/// What the server says of a stream, and of a message, that is not there.
const NO_STREAM: &str = "\"err_code\":10059";
const NO_MESSAGE: &str = "\"err_code\":10037";
/// What the server says to users of an account that lets nobody in.
const LOCKED_OUT: &str = "Authorization Violation";
/// The longest that a server may take to serve its clients again, and the pause between their attempts.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

impl NatsFixture {
    async fn wire(&self, delivery: &Delivery) -> Result<Wire, String> {
        let text = |key: &str| delivery[key].expose_secret();
        let address = format!("{}:{}", text("host"), text("port"));
        Wire::connect(&address, Some((text("username"), text("password")))).await
    }

    async fn try_put(&self, delivery: &Delivery, key: &str, text: &str) -> Result<(), String> {
        let mut wire = self.wire(delivery).await?;
        let stream = format!(r#"{{"name":"{STREAM}","subjects":["data.>"],"storage":"file"}}"#);
        let made = wire.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
        let answer = wire.request(&format!("data.{key}"), text).await?;
        if made.contains("config") && answer.contains("\"seq\"") { Ok(()) } else { Err(made + &answer) }
    }

    async fn try_contents(&self, delivery: &Delivery) -> Result<Option<Contents>, String> {
        let mut wire = match self.wire(delivery).await {
            Err(error) if error.contains(LOCKED_OUT) => return Ok(None),
            wire => wire?,
        };
        let mut contents = Contents::new();
        let info = wire.request(&format!("$JS.API.STREAM.INFO.{STREAM}"), "").await?;
        if info.contains(NO_STREAM) {
            return Ok(Some(contents));
        }
        let state = &json(&info)?["state"];
        let number = |name: &str| state[name].as_u64().ok_or_else(|| info.clone());
        for sequence in number("first_seq")?..=number("last_seq")? {
            let subject = format!("$JS.API.STREAM.MSG.GET.{STREAM}");
            let answer = wire.request(&subject, &format!(r#"{{"seq":{sequence}}}"#)).await?;
            if answer.contains(NO_MESSAGE) {
                continue;
            }
            let message = &json(&answer)?["message"];
            let (Some(subject), Some(data)) = (message["subject"].as_str(), message["data"].as_str()) else {
                return Err(answer);
            };
            let data = base64::prelude::BASE64_STANDARD.decode(data).unwrap();
            let key = subject.strip_prefix("data.").unwrap().to_owned();
            contents.insert(key, String::from_utf8(data).unwrap());
        }
        Ok(Some(contents))
    }

    async fn try_wipe(&self, delivery: &Delivery) -> Result<(), String> {
        let answer = self.wire(delivery).await?.request(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "").await?;
        if answer.contains("\"success\":true") || answer.contains(NO_STREAM) { Ok(()) } else { Err(answer) }
    }
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

/// Tries again as clients do: while the server reads its file, it hangs up on whom it concerns, and for a moment nobody answers for a
/// stream.
async fn tried<T, F: Future<Output = Result<T, String>>>(mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "the server does not come to serve again: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[async_trait]
impl RecoveryFixture for NatsFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        tried(|| self.try_put(delivery, key, text)).await;
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        self.contents_if_served(delivery).await.expect("the account lets its users in")
    }

    async fn contents_if_served(&self, delivery: &Delivery) -> Option<Contents> {
        tried(|| self.try_contents(delivery)).await
    }

    async fn wipe(&self, delivery: &Delivery) {
        tried(|| self.try_wipe(delivery)).await;
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
