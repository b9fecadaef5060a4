//! The listener: every connection has bounds on its number, its head and its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::http::request::Parts;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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
/// How long to wait after the operating system had no connection to give, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

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
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let router = router.layer(Extension(Stopping(Some(stop.clone()))));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one small write; waiting to fill a segment would cost a delayed acknowledgement each time.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it was served");
            continue;
        }
        let (router, watcher, tls, limits) = (router.clone(), graceful.watcher(), tls.clone(), limits.clone());
        tokio::spawn(async move {
            let outcome = match tls {
                None => converse(stream, peer, router, &limits, watcher).await,
                // Whoever does not get through the handshake holds a place no longer than a slow head would.
                Some(tls) => match tokio::time::timeout(limits.head_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, peer, router, &limits, watcher).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(elapsed) => Err(elapsed.into()),
                },
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::info!("some requests were cut off: they took longer than {} s to finish", limits.drain.as_secs());
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    router: Router,
    limits: &Limits,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let router = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    Ok(watcher.watch(connection).await?)
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    // Nobody closes the semaphore.
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer.ip(), place))
}
