//! A data plane in memory that keeps the contract, and what tests do to it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use mainstay_dataplane::{
    Address, Body, Claim, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, KeyId,
    Measure, Owner, Receipt, Serve, ServeError, Served, Sha256, Source, Stored, Trouble, Verified, Verify,
};
use mainstay_types::Timestamp;

#[derive(Default)]
pub struct MemoryPlane {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    contents: BTreeMap<Address, Kept>,
    claims: u64,
}

struct Kept {
    bytes: Bytes,
    claim: Claim,
    claimed_at: Timestamp,
    key: Option<KeyId>,
    damaged: bool,
}

impl MemoryPlane {
    /// Makes a content one whose bytes are not what was stored.
    pub fn damage(&self, address: Address) {
        self.state.lock().unwrap().contents.get_mut(&address).unwrap().damaged = true;
    }

    fn read(&self, address: Address, key: Option<KeyId>) -> Result<Bytes, ServeError> {
        let state = self.state.lock().unwrap();
        let kept = state.contents.get(&address).ok_or(ServeError::Absent(address))?;
        match kept.key {
            Some(needed) if key != Some(needed) => Err(ServeError::KeyNeeded(needed)),
            _ if kept.damaged => Err(ServeError::Damaged { address, reason: "a bit is flipped".to_owned() }),
            _ => Ok(kept.bytes.clone()),
        }
    }
}

#[async_trait]
impl DataPlane for MemoryPlane {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let bytes: BytesMut = source.map_err(IngestError::Source).try_collect().await?;
        let bytes = bytes.freeze();
        if hints.expect.size.is_some_and(|size| size != bytes.len() as u64) {
            return Err(IngestError::Mismatch(Measure::Size));
        }
        let address = Address::of(&bytes);
        let mut state = self.state.lock().unwrap();
        state.claims += 1;
        let claim = Claim(state.claims);
        let known = state.contents.contains_key(&address);
        let size = bytes.len() as u64;
        let key = hints.key.map(|key| key.id);
        let claimed_at = Timestamp::now();
        let new = Kept { bytes, claim, claimed_at, key: None, damaged: false };
        let kept = state.contents.entry(address).or_insert(new);
        (kept.claim, kept.claimed_at, kept.key) = (claim, claimed_at, kept.key.or(key));
        Ok(Receipt { address, sha256: Sha256([0; 32]), md5: None, size, claim, key: kept.key, known })
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        let bytes = self.read(request.address, request.key.map(|key| key.id))?;
        let size = bytes.len() as u64;
        let range = request.range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(ServeError::RangeOutside { size });
        }
        Ok(Served { size, body: Body::Whole(bytes.slice(range.start as usize..range.end as usize)) })
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        let bytes = self.read(request.address, request.key.map(|key| key.id))?;
        Ok(Verified { size: bytes.len() as u64 })
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        let mut state = self.state.lock().unwrap();
        Ok(match state.contents.get(&request.address).map(|kept| kept.claim) {
            None => Deletion::Absent,
            Some(claim) if claim > request.claim => Deletion::Superseded,
            Some(_) => {
                state.contents.remove(&request.address);
                Deletion::Deleted
            }
        })
    }

    async fn backend_health(&self) -> Health {
        let contents = self.state.lock().unwrap().contents.len() as u64;
        Health { backend: "memory".to_owned(), trouble: None, contents, stored_bytes: 0, free_bytes: None }
    }
}

#[async_trait]
impl Inventory for MemoryPlane {
    async fn contents(&self, _: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let state = self.state.lock().unwrap();
        let stored = |(address, kept): (&Address, &Kept)| Stored {
            address: *address,
            size: kept.bytes.len() as u64,
            claim: kept.claim,
            claimed_at: kept.claimed_at,
        };
        Ok(state.contents.iter().filter(|(address, _)| Some(**address) > after).map(stored).take(limit).collect())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Ok(0)
    }
}

/// All that a body is.
pub async fn bytes_of(body: Body) -> Result<Vec<u8>, ServeError> {
    match body {
        Body::Whole(bytes) => Ok(bytes.to_vec()),
        Body::Stream(mut stream) => {
            let mut all = Vec::new();
            while let Some(bytes) = stream.next().await {
                all.extend_from_slice(&bytes?);
            }
            Ok(all)
        }
    }
}
