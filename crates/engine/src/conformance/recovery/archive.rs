//! An archive in memory, which can be damaged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::StreamExt;
use mainstay_dataplane::{
    Address, Body, Claim, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Receipt, Serve,
    ServeError, Served, Sha256, Source, Verified, Verify,
};
use mainstay_types::Digest;
use tokio::sync::watch;

use crate::EngineError;
use crate::recovery::{Archive, LogCatalogue, LogPiece, Progress};

/// A small archive, kept as long as somebody has it. Clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryArchive(Arc<Memory>);

#[derive(Default)]
struct Memory {
    contents: Mutex<BTreeMap<Address, Vec<Block>>>,
    log: Mutex<BTreeMap<String, LogPiece>>,
    progress: watch::Sender<Seen>,
}

/// A part of a content, which is verified before it is served.
#[derive(Clone)]
struct Block {
    digest: Digest,
    bytes: Bytes,
}

/// What an operation said of its progress.
#[derive(Debug, Clone, Default)]
struct Seen {
    stages: Vec<String>,
    copied: u64,
}

impl MemoryArchive {
    /// The archive as an engine sees it.
    pub fn archive(&self) -> Archive {
        Archive { plane: self.0.clone(), log: self.0.clone(), progress: self.0.clone() }
    }

    /// Flips one bit in the middle of a content; done again, the content is whole again.
    pub fn flip_bit(&self, address: &Address) {
        let mut contents = locked(&self.0.contents);
        let blocks = contents.get_mut(address).expect("there is such a content");
        let middle = blocks.len() / 2;
        let mut bytes = blocks[middle].bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        blocks[middle].bytes = bytes.into();
    }

    /// The stages that were told since the last call of [`forget_progress`](Self::forget_progress).
    pub fn stages(&self) -> Vec<String> {
        self.0.progress.borrow().stages.clone()
    }

    /// The bytes that were told to be copied since then.
    pub fn copied(&self) -> u64 {
        self.0.progress.borrow().copied
    }

    pub fn forget_progress(&self) {
        self.0.progress.send_replace(Seen::default());
    }

    /// Resolves once so many stages were told.
    pub async fn reached(&self, stages: usize) {
        // The sender lives as long as this does.
        let _ = self.0.progress.subscribe().wait_for(|seen| seen.stages.len() >= stages).await;
    }

    /// The names of all pieces of the log.
    pub fn log(&self) -> Vec<String> {
        locked(&self.0.log).keys().cloned().collect()
    }

    /// Contents that are kept, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        let contents = locked(&self.0.contents);
        let size = |blocks: &Vec<Block>| blocks.iter().map(|block| block.bytes.len() as u64).sum::<u64>();
        (contents.len(), contents.values().map(size).sum())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl DataPlane for Memory {
    async fn ingest_stream(&self, mut source: Source, _: Hints) -> Result<Receipt, IngestError> {
        let mut sha256 = Context::new(&SHA256);
        let (mut whole, mut blocks) = (Vec::new(), Vec::new());
        while let Some(bytes) = source.next().await {
            let bytes = bytes.map_err(IngestError::Source)?;
            sha256.update(&bytes);
            whole.extend_from_slice(&bytes);
            blocks.push(Block { digest: Digest::of(&bytes), bytes });
        }
        let address = Address::of(&whole);
        let sha256 = Sha256(sha256.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"));
        let known = locked(&self.contents).insert(address, blocks).is_some();
        Ok(Receipt { address, sha256, md5: None, size: whole.len() as u64, claim: Claim(1), key: None, known })
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        let address = request.address;
        let whole = request.range.is_none_or(|range| range == (0..1));
        assert!(
            whole && request.key.is_none(),
            "an engine reads what it kept as it kept it, or looks whether it is there"
        );
        let blocks = locked(&self.contents).get(&address).cloned().ok_or(ServeError::Absent(address))?;
        let size = blocks.iter().map(|block| block.bytes.len() as u64).sum();
        let stream = futures::stream::iter(blocks).map(move |block| match Digest::of(&block.bytes) == block.digest {
            true => Ok(block.bytes),
            false => Err(ServeError::Damaged { address, reason: "a block of it was changed".to_owned() }),
        });
        Ok(Served { size, body: Body::Stream(stream.boxed()) })
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        let served = self.serve_object(Serve { address: request.address, range: None, key: request.key }).await?;
        if let Body::Stream(mut stream) = served.body {
            while let Some(bytes) = stream.next().await {
                bytes?;
            }
        }
        Ok(Verified { size: served.size })
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        let removed = locked(&self.contents).remove(&request.address);
        Ok(if removed.is_some() { Deletion::Deleted } else { Deletion::Absent })
    }

    async fn backend_health(&self) -> Health {
        let contents = locked(&self.contents).len() as u64;
        Health { backend: "memory".to_owned(), trouble: None, contents, stored_bytes: 0, free_bytes: None }
    }
}

#[async_trait]
impl LogCatalogue for Memory {
    async fn record(&self, name: &str, piece: &LogPiece) -> Result<(), EngineError> {
        assert!(locked(&self.contents).contains_key(&piece.address), "what is recorded is kept");
        locked(&self.log).insert(name.to_owned(), piece.clone());
        Ok(())
    }

    async fn pieces(&self) -> Result<Vec<(String, LogPiece)>, EngineError> {
        Ok(locked(&self.log).iter().map(|(name, piece)| (name.clone(), piece.clone())).collect())
    }

    async fn forget(&self, name: &str) -> Result<(), EngineError> {
        locked(&self.log).remove(name);
        Ok(())
    }
}

impl Progress for Memory {
    fn stage(&self, stage: &str) {
        self.progress.send_modify(|seen| seen.stages.push(stage.to_owned()));
    }

    fn copied(&self, bytes: u64) {
        self.progress.send_modify(|seen| seen.copied += bytes);
    }
}
