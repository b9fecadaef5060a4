//! The suite of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_dataplane::Address;
use mainstay_dataplane::conformance::{Fixture, Place, Subject, run};
use tempfile::TempDir;

use crate::{flip, open};

struct Directories;

struct Directory(TempDir);

#[async_trait]
impl Fixture for Directories {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(Directory(TempDir::new().unwrap()))
    }

    fn takes_keys(&self) -> bool {
        false
    }
}

#[async_trait]
impl Place for Directory {
    async fn open(&self) -> Subject {
        let repository = Arc::new(open(self.0.path()).await);
        Subject { plane: repository.clone(), inventory: repository }
    }

    async fn damage(&self, address: Address, byte: u64) {
        let places = open(self.0.path()).await.places_of(address).await;
        let len: u64 = places.iter().map(|(_, range)| range.end - range.start).sum();
        let mut at = byte % len;
        for (file, range) in places {
            if at < range.end - range.start {
                return flip(&self.0.path().join(file), range.start + at);
            }
            at -= range.end - range.start;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_every_promise() {
    run(&Directories).await;
}

#[tokio::test]
async fn a_directory_on_one_thread_keeps_every_promise() {
    run(&Directories).await;
}
