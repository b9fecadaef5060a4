//! An engine and an auth method that a test holds in its hands.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mainstay_secrets_engine::{
    Answer, Backend, Class, Globs, Kind, Lease, Login, Mount, Operation, Refusal, Request, Storage,
};
use mainstay_types::Timestamp;
use serde_json::{Value, json};

/// How long a test waits for what has to happen by itself.
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine that hands out numbered cans, and takes them back unless it is down.
#[derive(Default)]
pub struct Vending {
    pub out: Mutex<BTreeSet<String>>,
    handed: AtomicUsize,
    pub is_down: AtomicBool,
    /// A revocation that does not come back.
    pub hangs: AtomicBool,
    pub panics: AtomicBool,
    /// Where one is given, whoever asks for a can waits until the test lets them go on.
    pub gate: Mutex<Option<Arc<Gate>>>,
}

/// Holds a request inside the engine.
#[derive(Default)]
pub struct Gate {
    pub entered: tokio::sync::Notify,
    pub go_on: tokio::sync::Notify,
}

/// Mounts a machine.
pub struct VendingKind(pub Arc<Vending>);

struct Machine(Arc<Vending>);

/// Lets everybody in, with the policies that they ask for.
pub struct DoorKind;

struct Door;

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// === impl Vending ===

impl Vending {
    pub fn is_out(&self, can: &str) -> bool {
        self.out.lock().unwrap().contains(can)
    }
}

#[async_trait]
impl Kind for VendingKind {
    fn name(&self) -> &'static str {
        "vending"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, _mount: Arc<Mount>, _storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        Ok(Arc::new(Machine(self.0.clone())))
    }
}

#[async_trait]
impl Backend for Machine {
    fn globs(&self) -> Globs {
        Globs { unauthenticated: &[], sudo: &["root"] }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        match (request.operation, request.path.as_str()) {
            (Operation::Read, "can") => {
                let can = format!("can-{}", self.0.handed.fetch_add(1, Ordering::SeqCst));
                self.0.out.lock().unwrap().insert(can.clone());
                let gate = self.0.gate.lock().unwrap().clone();
                if let Some(gate) = gate {
                    gate.entered.notify_one();
                    gate.go_on.notified().await;
                }
                let ttl_seconds = request.fields().seconds("ttl")?.unwrap_or(600);
                let lease =
                    Lease { ttl_seconds, max_ttl_seconds: 3600, renewable: true, internal: json!({ "can": can }) };
                Ok(Answer::data(json!({ "can": can })).leased(lease))
            }
            (Operation::Read, "root") => Ok(Answer::data(json!({ "root": true }))),
            _ => Err(Refusal::UnsupportedOperation),
        }
    }

    async fn revoke(&self, internal: &Value, _now: Timestamp) -> Result<(), Refusal> {
        let unavailable = || Refusal::Unavailable { what: "the machine is down".to_owned(), source: None };
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.panics.swap(false, Ordering::SeqCst) {
            panic!("a mistake in the engine");
        }
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        self.0.out.lock().unwrap().remove(internal["can"].as_str().unwrap());
        Ok(())
    }
}

#[async_trait]
impl Kind for DoorKind {
    fn name(&self) -> &'static str {
        "door"
    }

    fn class(&self) -> Class {
        Class::Auth
    }

    async fn open(&self, _mount: Arc<Mount>, _storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        Ok(Arc::new(Door))
    }
}

#[async_trait]
impl Backend for Door {
    fn globs(&self) -> Globs {
        Globs { unauthenticated: &["login"], sudo: &[] }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        let fields = request.fields();
        let policies = fields.list("policies")?.unwrap_or_default();
        let ttl_seconds = fields.seconds("ttl")?.unwrap_or(0);
        Ok(Answer::login(Login { policies, ttl_seconds, ..Login::default() }))
    }

    async fn renew_login(&self, login: Login, _now: Timestamp) -> Result<Login, Refusal> {
        // The role says more by now than the mount does.
        Ok(Login { max_ttl_seconds: 1_000_000_000, ..login })
    }
}
