//! The listener: every connection has bounds on its number, its heads, its bodies and its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use mainstay_objects::Objects;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::arrival::Peer;
use crate::body::Pace;
use crate::config::S3Config;
use crate::front::Front;
use crate::idle::{Connection, Idle};
use crate::linger::{Lingering, MoreComes};
use crate::stall::Unstalled;

/// The largest head of a request, and the most that is read at once of a body: large enough that a fast stream costs few
/// calls, small enough for a thousand connections.
const BUFFER: usize = 128 << 10;
/// Why a connection ended early.
type Ended = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait after the operating system had no connection to give, for example for want of file descriptors, and
/// between looks for an idle one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers S3 requests until `stop` turns true; then finishes those in progress. With `tls`, in TLS alone.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    config: S3Config,
    objects: Objects,
    stop: watch::Receiver<bool>,
) {
    serve_while(|| true, listener, tls, config, objects, stop).await;
}

/// [`serve`] for an object store that can be closed: while it is not `open`, every request is told to come back later.
pub async fn serve_while(
    open: impl Fn() -> bool + Send + Sync + 'static,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    config: S3Config,
    objects: Objects,
    mut stop: watch::Receiver<bool>,
) {
    let limits = config.limits.clone();
    let front = Front::new(config, objects, Box::new(open));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let idle = Idle::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places, &idle) => accepted,
        };
        let (stream, ip, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an S3 connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Waiting to fill a segment would cost a delayed acknowledgement for each small answer.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an S3 connection ended before it was served");
            continue;
        }
        let (front, watcher, tls) = (front.clone(), graceful.watcher(), tls.clone());
        let (head_timeout, linger) = (limits.head_timeout, limits.linger);
        let pace = Pace { bytes: limits.pace_bytes, within: limits.write_timeout };
        let connection = idle.connection(ip);
        tokio::spawn(async move {
            let more_comes = MoreComes::default();
            let stream = Lingering::new(Unstalled::new(stream, pace), more_comes.clone(), linger);
            let peer = Peer { ip, secure: tls.is_some() };
            let answers = Answers { front, peer, connection: connection.clone(), more_comes };
            let conversation = async {
                match tls {
                    None => converse(stream, answers, head_timeout, watcher).await,
                    // Whoever does not get through the handshake holds a place no longer than a slow head would.
                    Some(tls) => match tokio::time::timeout(head_timeout, tls.accept(stream)).await {
                        Ok(Ok(stream)) => converse(stream, answers, head_timeout, watcher).await,
                        Ok(Err(error)) => Err(error.into()),
                        Err(elapsed) => Err(elapsed.into()),
                    },
                }
            };
            let outcome = tokio::select! {
                outcome = conversation => outcome,
                () = connection.ended() => Err(Ended::from("it was idle, and others waited for its place")),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "an S3 connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::info!("some S3 requests were cut off: they took longer than {} s to finish", limits.drain.as_secs());
    }
}

/// What a connection's requests are answered by.
struct Answers {
    front: Front,
    peer: Peer,
    connection: Arc<Connection>,
    more_comes: MoreComes,
}

/// Answers the requests of one connection until it ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answers: Answers,
    head_timeout: Duration,
    watcher: Watcher,
) -> Result<(), Ended> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, peer, connection) = (answers.front.clone(), answers.peer, answers.connection.clone());
        let more_comes = answers.more_comes.clone();
        async move {
            let response = connection.answer(front.answer(request, peer)).await;
            // The front closes a connection only on a body that has not come to its end.
            if response.headers().contains_key(CONNECTION) {
                more_comes.say();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}

/// The next connection and a place for it: where there is none, the idle make room.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    idle: &Idle,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let (stream, peer) = listener.accept().await?;
    loop {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok((stream, peer.ip(), place));
        }
        idle.end_one();
        // Whoever gets idle meanwhile is ended in the next round.
        if let Ok(place) = tokio::time::timeout(ACCEPT_PAUSE, places.clone().acquire_owned()).await {
            // Nobody closes the semaphore.
            return Ok((stream, peer.ip(), place.map_err(std::io::Error::other)?));
        }
    }
}
