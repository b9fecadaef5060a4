//! The listener of the S3 API.

use mainstay_listen::Pace;
use mainstay_objects::Objects;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{Limits, S3Config};
use crate::front::Front;

/// The largest head of a request, and the most that is read at once of a body: large enough that a fast stream costs few
/// calls, small enough for a thousand connections.
const BUFFER: usize = 128 << 10;

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
    stop: watch::Receiver<bool>,
) {
    let limits = config.limits.of_connections();
    let front = Front::new(config, objects, Box::new(open));
    mainstay_listen::serve("s3", listener, tls, limits, front, stop).await;
}

impl Limits {
    fn of_connections(&self) -> mainstay_listen::Limits {
        mainstay_listen::Limits {
            connections: self.connections,
            head_timeout: self.head_timeout,
            buffer: BUFFER,
            pace: Some(Pace { bytes: self.pace_bytes, within: self.write_timeout }),
            linger: self.linger,
            drain: self.drain,
        }
    }
}
