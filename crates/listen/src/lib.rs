//! Connections of HTTP servers: how many there are, how long each may take for its head, its answers and its end.
//!
//! ```text
//! socket ─ accept ─ Unstalled ─ Lingering ─ TLS ─ hyper ─ Answers
//!             │         │           └ whoever still sends when he is answered gets to read the answer
//!             │         └ whoever takes nothing of an answer is cut off
//!             └ where all places are taken, an idle connection gives way
//! ```

mod idle;
mod linger;
mod serve;
mod stall;

use std::net::IpAddr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};

pub use serve::serve;

/// What answers the requests of all connections. A clone is the same.
pub trait Answers: Clone + Send + Sync + 'static {
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static;

    /// Answers a request. What closes the connection by a header has not read the request's body to its end.
    fn answer(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub ip: IpAddr,
    /// Whether it is in TLS.
    pub secure: bool,
}

/// What one client can take from the others.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// How long a client may take to send the head of a request, or to begin the next one.
    pub head_timeout: Duration,
    /// The largest head of a request, and the most that is read at once of a body.
    pub buffer: usize,
    /// How slowly a client may take an answer; none where it may as slowly as it likes.
    pub pace: Option<Pace>,
    /// How long a client may go on sending a body that nobody wants.
    pub linger: Duration,
    /// How long the requests in progress may take once the server stops.
    pub drain: Duration,
}

/// How slowly bytes may go: at least so many within so much time that is spent waiting for the other end.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub bytes: u64,
    pub within: Duration,
}
