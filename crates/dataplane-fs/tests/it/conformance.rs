//! The suite of the contract: with the limits of production, and with limits that make everything happen often.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_dataplane::Address;
use mainstay_dataplane::conformance::{Fixture, Place, Subject, run};
use mainstay_dataplane_fs::FsConfig;
use tempfile::TempDir;

use crate::{busy, file_of, flip, open, record_of};

struct Stores(FsConfig);

struct Store {
    directory: TempDir,
    config: FsConfig,
}

#[async_trait]
impl Fixture for Stores {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(Store { directory: TempDir::new().unwrap(), config: self.0.clone() })
    }
}

#[async_trait]
impl Place for Store {
    async fn open(&self) -> Subject {
        let plane = Arc::new(open(self.directory.path(), self.config.clone()).await);
        Subject { plane: plane.clone(), inventory: plane }
    }

    async fn damage(&self, address: Address, byte: u64) {
        if let Some(path) = file_of(self.directory.path(), &address) {
            return flip(&path, (byte % path.metadata().unwrap().len()) as usize);
        }
        let record = record_of(self.directory.path(), &address).unwrap();
        flip(&record.pack, record.body + byte as usize % (record.end - record.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_every_promise() {
    run(&Stores(FsConfig::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_low_limits_keeps_every_promise() {
    run(&Stores(busy())).await;
}

#[tokio::test]
async fn a_store_on_one_thread_keeps_every_promise() {
    run(&Stores(FsConfig { small_up_to: 100_000, ..FsConfig::default() })).await;
}
