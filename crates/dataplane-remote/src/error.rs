//! Why there is no socket, or no daemon behind it.

use std::io;
use std::path::PathBuf;

/// Why the daemon does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the directory {} for the data plane's socket cannot be made", .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a data plane already listens on {}: stop it first, or name another socket", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and is no socket: remove it, or name another path", .0.display())]
    NoSocket(PathBuf),
    #[error("cannot listen on {}", .path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Why there is no connection to a daemon.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no data plane listens on {}: start one with `mainstay dataplane --socket {}`", .path.display(), .path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Whoever listens there might be anybody.
    #[error("{} belongs to user {found}, who is neither root nor user {own}: start the data plane as one of them", .path.display())]
    Stranger { path: PathBuf, found: u32, own: u32 },
    #[error("what listens on {} is no data plane of this version: run the same version of Mainstay on both sides", .path.display())]
    Version {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the data plane on {} does not answer", .path.display())]
    Silent {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}
