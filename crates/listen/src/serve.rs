//! The listener: every connection has bounds on its number, its heads, its answers and its end.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::idle::{Connection, Idle};
use crate::linger::{Lingering, MoreComes};
use crate::stall::Unstalled;
use crate::{Answers, Limits, Peer};

/// How long to wait after the operating system had no connection to give, for example for want of file descriptors, and
/// between looks for an idle one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection ended early.
type Ended = Box<dyn std::error::Error + Send + Sync>;

/// Lets requests be answered until `stop` turns true; then finishes those in progress. With `tls`, in TLS alone. `server`
/// is its name in the log.
pub async fn serve(
    server: &'static str,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    answers: impl Answers,
    mut stop: watch::Receiver<bool>,
) {
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
                tracing::warn!(server, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Waiting to fill a segment would cost a delayed acknowledgement for each small answer.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(server, %error, "a connection ended before it was served");
            continue;
        }
        let peer = Peer { ip, secure: tls.is_some() };
        let served =
            Served { answers: answers.clone(), peer, idle: idle.connection(ip), more_comes: MoreComes::default() };
        let (limits, tls, watcher) = (limits.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let idle = served.idle.clone();
            let outcome = tokio::select! {
                outcome = meet(stream, served, tls, &limits, watcher) => outcome,
                () = idle.ended() => Err(Ended::from("it was idle, and others waited for its place")),
            };
            if let Err(error) = outcome {
                tracing::debug!(server, %error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        let seconds = limits.drain.as_secs();
        tracing::info!(server, "some requests were cut off: they took longer than {seconds} s to finish");
    }
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

/// A connection, and what its requests are answered by.
struct Served<A> {
    answers: A,
    peer: Peer,
    idle: Arc<Connection>,
    more_comes: MoreComes,
}

/// Serves one connection until it ends.
async fn meet<A: Answers>(
    stream: TcpStream,
    served: Served<A>,
    tls: Option<TlsAcceptor>,
    limits: &Limits,
    watcher: Watcher,
) -> Result<(), Ended> {
    let stream = Lingering::new(Unstalled::new(stream, limits.pace), served.more_comes.clone(), limits.linger);
    match tls {
        None => converse(stream, served, limits, watcher).await,
        // Whoever does not get through the handshake holds a place no longer than a slow head would.
        Some(tls) => {
            let stream = tokio::time::timeout(limits.head_timeout, tls.accept(stream)).await??;
            converse(stream, served, limits, watcher).await
        }
    }
}

/// Answers the requests of one connection until it ends.
async fn converse<A: Answers>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    served: Served<A>,
    limits: &Limits,
    watcher: Watcher,
) -> Result<(), Ended> {
    let served = Arc::new(served);
    let service = service_fn(move |request: Request<Incoming>| {
        let served = served.clone();
        async move {
            let answer = served.answers.answer(request, served.peer);
            let response = served.idle.clone().answer(answer).await;
            if response.headers().contains_key(CONNECTION) {
                served.more_comes.say();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}
