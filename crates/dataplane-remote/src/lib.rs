//! The data plane's daemon and its client, over a Unix socket.
//!
//! ```text
//! RemotePlane -> connection, one call at a time -> socket -> connection -> DataPlane
//! ```
//!
//! Who may open the socket, and is of the daemon's own user, may do everything: the file system's permissions are the
//! lock. A call that is given up closes its connection, and the daemon gives the call up in turn. Streams flow as fast as
//! their reader reads: what is between is a frame and what a socket holds.

mod client;
mod connection;
mod daemon;
mod error;
mod frame;
mod listener;
mod message;
mod peer;

pub use client::RemotePlane;
pub use daemon::serve;
pub use error::{BindError, ConnectError};
pub use listener::Listener;
