//! `nats/v1`, with nats-py and async-nats.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::lifecycle::{Promise, Session, holds};
use super::{Asked, certificates, suite, text};
use crate::harness::{Layer, Options, runtime};
use crate::objects::python;

/// What a server that answers takes at most.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Short against the time for which an answer is waited.
const ASK_AGAIN: Duration = Duration::from_millis(10);
const STREAM: &str = "KEPT";
const SUBJECT: &str = "kept";
const ASKED: Asked = Asked { name: "messages", contract: "nats/v1", plan: "shared", engine: "nats", parameters: &[] };
const PROMISE: Promise = Promise { heals_within: Duration::from_secs(10), durable: true };

#[test]
fn nats_v1() {
    let Some(python) = python() else { return };
    let mut layer = Layer::start(Options::default());
    suite::run(&layer, python, "nats_v1", &[ASKED], &[]);
    a_client_that_asks_for_tls_verifies_the_server(&layer);
    let [kept, neighbour] = ["kept", "neighbour"].map(|name| Asked { name, ..ASKED });
    holds::<AsyncNats>(&mut layer, kept, neighbour, PROMISE);
}

/// nats-py speaks TLS with a server only that refuses to speak otherwise, and so it is no client for this.
fn a_client_that_asks_for_tls_verifies_the_server(layer: &Layer) {
    let encrypted = Asked { name: "encrypted", parameters: &[("tls", "true")], ..ASKED };
    encrypted.create(&layer.api());
    // The client leaves the choice to the process where several libraries for TLS are linked; another test may have chosen.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let given = &encrypted.bind(&layer.api(), "app")["credentials"];
    assert!(text(given, "uri").starts_with("tls://"));
    let known = certificates(layer, given);
    let open = |options: ConnectOptions| AsyncNats::connect(given, options).map(drop);
    assert_eq!(open(login(given).add_root_certificates(known)), Ok(()));
    let refused = open(login(given)).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    assert!(open(login(given).add_root_certificates(Path::new("/dev/null").to_owned())).is_err());
}

/// This client takes no user from a URI.
fn login(given: &Value) -> ConnectOptions {
    ConnectOptions::with_user_and_password(text(given, "username").to_owned(), text(given, "password").to_owned())
}

/// async-nats, which connects anew by itself: a session is one only while nothing has cut it off.
struct AsyncNats {
    client: Client,
    was_cut_off: Arc<AtomicBool>,
    runtime: Runtime,
}

impl AsyncNats {
    fn connect(given: &Value, options: ConnectOptions) -> Result<Self, String> {
        let runtime = runtime();
        let was_cut_off = Arc::<AtomicBool>::default();
        let told = was_cut_off.clone();
        let options = options.event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                told.store(true, Ordering::Relaxed);
            }
            std::future::ready(())
        });
        let client = runtime.block_on(options.connect(text(given, "uri"))).map_err(chain)?;
        Ok(Self { client, was_cut_off, runtime })
    }

    /// An answer of JetStream. The client's own way to it would change how the whole workspace is built.
    async fn ask(&self, subject: &str, request: String) -> Result<Value, String> {
        let answer = self.client.request(subject.to_owned(), request.into()).await.map_err(chain)?;
        let told: Value = serde_json::from_slice(&answer.payload).map_err(chain)?;
        if told["error"].is_null() { Ok(told) } else { Err(told["error"].to_string()) }
    }

    /// An answer of the API, which a server that takes a change to its accounts may not give at once.
    async fn manage(&self, subject: &str, request: Value) -> Result<Value, String> {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            match self.ask(subject, request.to_string()).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    }

    /// How many messages the stream has, which is made when it is not there.
    async fn messages(&self) -> Result<u64, String> {
        let wanted = json!({ "name": STREAM, "subjects": [SUBJECT] });
        let told = self.manage(&format!("$JS.API.STREAM.CREATE.{STREAM}"), wanted).await?;
        Ok(told["state"]["messages"].as_u64().unwrap())
    }
}

impl Session for AsyncNats {
    fn open(given: &Value) -> Result<Self, String> {
        Self::connect(given, login(given))
    }

    fn keep(&mut self, number: u64) -> Result<(), String> {
        self.runtime.block_on(async {
            self.messages().await?;
            self.ask(SUBJECT, number.to_string()).await.map(drop)
        })
    }

    fn kept(&mut self) -> Result<Vec<u64>, String> {
        self.runtime.block_on(async {
            let mut numbers = Vec::new();
            for sequence in 1..=self.messages().await? {
                let asked = json!({ "seq": sequence });
                let told = self.manage(&format!("$JS.API.STREAM.MSG.GET.{STREAM}"), asked).await?;
                let body = BASE64_STANDARD.decode(told["message"]["data"].as_str().unwrap()).unwrap();
                numbers.push(String::from_utf8(body).unwrap().parse().unwrap());
            }
            Ok(numbers)
        })
    }

    fn is_open(&mut self) -> bool {
        let echo = async {
            let subject = self.client.new_inbox();
            let mut heard = self.client.subscribe(subject.clone()).await.ok()?;
            self.client.publish(subject, "".into()).await.ok()?;
            heard.next().await
        };
        let is_cut_off =
            || self.was_cut_off.load(Ordering::Relaxed) || self.client.connection_state() != State::Connected;
        let answered =
            !is_cut_off() && self.runtime.block_on(async { tokio::time::timeout(ANSWER_PATIENCE, echo).await }).is_ok();
        answered && !is_cut_off()
    }
}

/// An error with its reasons.
fn chain(error: impl Error) -> String {
    let causes = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
