//! A layer that listens on a port of its own, and a client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_control::{Config, Control, Reconciler, Tempo};
use mainstay_custody::{Custody, MasterKey};
use mainstay_domain::event::Actor;
use mainstay_engine::fake::FakeEngine;
use mainstay_engine::supervise::RestartPolicy;
use mainstay_http::{Api, Limits, router, serve_within};
use mainstay_journal::Journal;
use mainstay_storage::{Location, Service, Store};
use mainstay_types::{Role, TenantScope};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The longest that anything may take, on a machine that runs other tests too.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    pub address: SocketAddr,
    pub control: Control,
    pub fake: FakeEngine,
    /// A token with every right.
    pub admin: String,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// One request, before it is sent.
pub struct Call {
    address: SocketAddr,
    request: axum::http::request::Builder,
    token: Option<String>,
    body: Body,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Server {
    pub async fn start() -> Self {
        Self::within(Limits::default()).await
    }

    pub async fn within(limits: Limits) -> Self {
        let store = Store::open(&Location::InMemory, Service::Journal, mainstay_journal::SCHEMA).await.unwrap();
        let journal = Journal::open(store).await.unwrap();
        let custody = Custody::open(&Location::InMemory, MasterKey::from_bytes([7; 32])).await.unwrap();
        let fake = FakeEngine::default();
        // A wide range: whatever listens on this machine beside the test takes a few of them at most.
        let config = Config { dedicated_ports: 21_000..=21_999, data_dir: None, depot: None };
        let control = Control::new(journal, custody, vec![Arc::new(fake.clone())], config);
        let admin =
            control.create_token(Actor::System, TenantScope::Any, Role::Admin, TenantScope::Any, None).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let restarts = RestartPolicy { delays_millis: &[0], give_up_after: 3, window_seconds: 60, retry_seconds: 1 };
        let tempo = Tempo { observe_every: Duration::from_millis(50), restarts };
        tokio::spawn(Reconciler::new(control.clone()).with_tempo(tempo).run(stopped.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Api::new(control.clone(), "0.0.0-test").within(&limits));
        let serving = tokio::spawn(serve_within(limits, listener, None, router, stopped));
        let admin = admin.token.expose_secret().to_owned();
        Self { address, control, fake, admin, stop, serving }
    }

    /// Tells the layer to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves once nothing is served any more.
    pub async fn stopped(self) {
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }

    /// A request with the admin's token.
    pub fn call(&self, method: &str, path: &str) -> Call {
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        Call { address: self.address, request, token: Some(self.admin.clone()), body: Body::empty() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    /// A token of a role for a tenant, or for every tenant: `*`.
    pub async fn token(&self, role: Role, tenant: &str) -> String {
        let tenant = tenant.parse().unwrap();
        let made = self.control.create_token(Actor::System, TenantScope::Any, role, tenant, None).await.unwrap();
        made.token.expose_secret().to_owned()
    }

    /// Makes an instance and waits until it is ready.
    pub async fn create(&self, name: &str) {
        let body = json!({"name": name, "contract": "postgresql/v1"});
        let answer = self.call("POST", "/api/v1/instances?wait=30s").json(&body).send().await;
        assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (200, &json!("succeeded")), "{answer:?}");
    }

    /// Binds an instance; answers the binding with its credentials.
    pub async fn bind(&self, instance: &str) -> Value {
        let path = format!("/api/v1/instances/{instance}/bindings");
        let answer = self.call("POST", &path).json(&json!({"consumer": "web"})).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Whether these credentials let a client in.
    pub fn connects(&self, credentials: &Value) -> bool {
        let text = |key: &str| credentials[key].as_str().unwrap().to_owned();
        let port = text("port").parse().unwrap();
        self.fake.can_connect(port, &text("database"), &text("username"), &text("password"))
    }
}

impl Call {
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(self, value: &Value) -> Self {
        self.body(value.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request on a connection of its own; answers the head, and the body as it comes.
    pub async fn open(self) -> axum::http::Response<Body> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the answer, well or not; what matters is what was read until then.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = self.request;
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request.body(self.body).unwrap()));
        answer.await.expect("an answer in time").unwrap().map(Body::new)
    }

    pub async fn send(self) -> Answer {
        let (head, body) = self.open().await.into_parts();
        let bytes: Bytes = tokio::time::timeout(PATIENCE, to_bytes(body, 16 << 20)).await.unwrap().unwrap();
        Answer { status: head.status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code and the field of a problem, which has all that a problem must have.
    pub fn problem(&self) -> (u16, String, Option<String>) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        let text = |key: &str| problem[key].as_str().map(str::to_owned);
        let code = text("code").unwrap();
        assert_eq!(problem["status"], json!(self.status.as_u16()), "{problem}");
        assert_eq!(text("type").unwrap(), format!("urn:mainstay:problem:{code}"), "{problem}");
        for key in ["title", "detail", "remedy"] {
            assert!(text(key).is_some_and(|text| !text.is_empty()), "it has no {key}: {problem}");
        }
        (self.status.as_u16(), code, text("field"))
    }
}
