//! The suite of the contract, over a socket; and without one, which tells the socket's faults from those of what is behind.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mainstay_dataplane::Address;
use mainstay_dataplane::conformance::{Fixture, Place, Subject, run};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::memory::MemoryPlane;
use crate::{Daemon, connect, place};

struct InProcess;

struct OverASocket;

struct Remote {
    plane: MemoryPlane,
    _directory: TempDir,
    socket: PathBuf,
    daemon: Mutex<Option<Daemon>>,
}

#[async_trait]
impl Fixture for InProcess {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(MemoryPlane::default())
    }
}

#[async_trait]
impl Place for MemoryPlane {
    async fn open(&self) -> Subject {
        let plane = Arc::new(self.clone());
        Subject { plane: plane.clone(), inventory: plane }
    }

    async fn damage(&self, address: Address, byte: u64) {
        MemoryPlane::damage(self, address, byte);
    }
}

#[async_trait]
impl Fixture for OverASocket {
    async fn place(&self) -> Box<dyn Place> {
        let (directory, socket) = place();
        let plane = MemoryPlane::default();
        Box::new(Remote { plane, _directory: directory, socket, daemon: Mutex::new(None) })
    }
}

#[async_trait]
impl Place for Remote {
    async fn open(&self) -> Subject {
        let mut daemon = self.daemon.lock().await;
        if let Some(daemon) = daemon.take() {
            daemon.stop().await;
        }
        *daemon = Some(Daemon::start(&self.socket, self.plane.clone()).await);
        let plane = Arc::new(connect(&self.socket).await);
        Subject { plane: plane.clone(), inventory: plane }
    }

    async fn damage(&self, address: Address, byte: u64) {
        self.plane.damage(address, byte);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_can_be_passed() {
    run(&InProcess).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_data_plane_conforms() {
    run(&OverASocket).await;
}
