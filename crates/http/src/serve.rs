//! The listener of the API, and what its requests know of it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use axum::{Extension, Router};
use hyper::body::Incoming;
use mainstay_listen::{Answers, Peer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Connections at the same time: more than the clients of a handful of machines open, and at some 20 KiB each few
/// enough to fit.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request: a slow one does not hold its place for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BUFFER: usize = 32 << 10;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Followers of the events at the same time. Each holds its connection for good, and leaves room for requests.
const FOLLOWERS: usize = 256;
/// How long the requests in progress may take once the control plane stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What one client can take from the others.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    pub followers: usize,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            followers: FOLLOWERS,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            drain: DRAIN,
        }
    }
}

/// Tells a request that goes on for long that the control plane stops.
#[derive(Clone, Default)]
pub(crate) struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// Resolves once the control plane stops.
    pub(crate) async fn begun(&mut self) {
        match &mut self.0 {
            // Whoever could tell is gone, which is a stop too.
            Some(stop) => drop(stop.wait_for(|stop| *stop).await),
            None => std::future::pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Answers requests until `stop` turns true; then finishes those in progress. With `tls`, in TLS alone.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: watch::Receiver<bool>) {
    serve_within(Limits::default(), listener, tls, router, stop).await;
}

/// [`serve`] within other limits.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let routed = Routed(router.layer(Extension(Stopping(Some(stop.clone())))));
    mainstay_listen::serve("api", listener, tls, limits.of_connections(), routed, stop).await;
}

/// Answers as a router does, which finds the other end in a request's extensions.
#[derive(Clone)]
struct Routed(Router);

impl Answers for Routed {
    type Body = Body;

    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        request.extensions_mut().insert(peer);
        self.0.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}

impl Limits {
    fn of_connections(&self) -> mainstay_listen::Limits {
        mainstay_listen::Limits {
            connections: self.connections,
            head_timeout: self.head_timeout,
            buffer: HEAD_BUFFER,
            // Whoever follows the events may stop reading for as long as he likes.
            pace: None,
            // No answer here closes a connection on a body that still comes.
            linger: Duration::ZERO,
            drain: self.drain,
        }
    }
}
