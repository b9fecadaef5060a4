//! The daemon and its client, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod attacks;
mod conformance;
mod death;
mod memory;
mod odd;
mod pressure;
mod sockets;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use mainstay_dataplane::{DataPlane, Hints, Inventory, Owner, Source};
use mainstay_dataplane_remote::{Listener, RemotePlane, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with a socket of its own.
pub struct Daemon {
    serving: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Daemon {
    pub async fn start<P: DataPlane + Inventory>(socket: &Path, plane: P) -> Self {
        let listener = Listener::bind(socket).await.expect("it can listen");
        let plane = Arc::new(plane);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, plane.clone(), plane, async {
            drop(stopped.await);
        }));
        Self { serving, stop }
    }

    /// Stops as a daemon does that is asked to.
    pub async fn stop(self) {
        drop(self.stop);
        self.serving.await.expect("it stops");
    }

    /// Ends it as it stands, with all its connections.
    pub async fn kill(self) {
        self.serving.abort();
        drop(self.serving.await);
    }
}

/// A directory, and a socket in a directory of its own in it.
pub fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("there is room");
    let socket = directory.path().join("run/dataplane.sock");
    (directory, socket)
}

pub async fn connect(socket: &Path) -> RemotePlane {
    RemotePlane::connect(socket).await.expect("a daemon listens")
}

pub fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    let mut state = 88_172_645_463_325_252u64;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    bytes.into()
}

pub fn source(content: &Bytes) -> Source {
    Box::pin(stream::iter([Ok(content.clone())]))
}

pub fn plain() -> Hints {
    Hints::plain(Owner::Objects)
}

/// Fails where something takes too long.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it should not take so long")
}

/// Waits until something is so.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} should have come true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
