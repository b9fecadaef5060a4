//! The contract in its simplest form: content in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::digest as sha256;
use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Address, Body, Claim, ContentKey, DataPlane, Delete, DeleteError, Deletion, Expect, Health, Hints, IngestError,
    Inventory, Md5, Measure, Owner, Receipt, Serve, ServeError, Served, Sha256, Source, Stored, Trouble, Verified,
    Verify,
};
use mainstay_types::Timestamp;
use md5::Digest as _;

/// Clones share their content, as openings of one place do.
#[derive(Clone, Default)]
pub struct MemoryPlane(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    contents: BTreeMap<Address, Content>,
    claims: u64,
}

struct Content {
    bytes: Bytes,
    size: u64,
    sha256: Sha256,
    key: Option<ContentKey>,
    claims: BTreeMap<Owner, (Claim, Timestamp)>,
}

impl MemoryPlane {
    pub fn damage(&self, address: Address, byte: u64) {
        let mut state = self.0.lock().unwrap();
        let content = state.contents.get_mut(&address).unwrap();
        let mut bytes = content.bytes.to_vec();
        let at = (byte % bytes.len() as u64) as usize;
        bytes[at] ^= 4;
        content.bytes = bytes.into();
    }

    fn open(&self, address: Address, key: Option<&ContentKey>) -> Result<Bytes, ServeError> {
        let state = self.0.lock().unwrap();
        let content = state.contents.get(&address).ok_or(ServeError::Absent(address))?;
        let damaged = |reason: &str| ServeError::Damaged { address, reason: reason.to_owned() };
        if let Some(needed) = &content.key {
            match key {
                Some(key) if key == needed => {}
                Some(key) if key.id == needed.id => return Err(damaged("it is not what this key encrypted")),
                _ => return Err(ServeError::KeyNeeded(needed.id)),
            }
        }
        if Address::of(&content.bytes) != address {
            return Err(damaged("a bit is flipped"));
        }
        Ok(content.bytes.clone())
    }
}

/// The digests of content that is what was said of it.
fn meet(bytes: &[u8], expect: &Expect) -> Result<(Sha256, Md5), Measure> {
    let sha256 = Sha256(sha256::digest(&sha256::SHA256, bytes).as_ref().try_into().unwrap());
    let md5 = Md5(md5::Md5::digest(bytes).into());
    if expect.size.is_some_and(|size| size != bytes.len() as u64) {
        return Err(Measure::Size);
    }
    if expect.sha256.is_some_and(|expected| expected != sha256) {
        return Err(Measure::Sha256);
    }
    if expect.md5.is_some_and(|expected| expected != md5) {
        return Err(Measure::Md5);
    }
    Ok((sha256, md5))
}

#[async_trait]
impl DataPlane for MemoryPlane {
    async fn ingest_stream(&self, mut source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let mut bytes = Vec::new();
        while let Some(more) = source.next().await {
            bytes.extend_from_slice(&more.map_err(IngestError::Source)?);
        }
        let address = Address::of(&bytes);
        let (sha256, md5) = meet(&bytes, &hints.expect).map_err(IngestError::Mismatch)?;
        let mut state = self.0.lock().unwrap();
        state.claims += 1;
        let claim = Claim(state.claims);
        let known = state.contents.contains_key(&address);
        let content = state.contents.entry(address).or_insert_with(|| Content {
            size: bytes.len() as u64,
            bytes: bytes.into(),
            sha256,
            key: None,
            claims: BTreeMap::new(),
        });
        content.key = content.key.take().or(hints.key);
        content.claims.insert(hints.owner, (claim, Timestamp::now()));
        Ok(Receipt {
            address,
            sha256: content.sha256,
            md5: hints.md5.then_some(md5),
            size: content.size,
            claim,
            key: content.key.as_ref().map(|key| key.id),
            known,
        })
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        let bytes = self.open(request.address, request.key.as_ref())?;
        let size = bytes.len() as u64;
        let range = request.range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(ServeError::RangeOutside { size });
        }
        let mut bytes = bytes.slice(range.start as usize..range.end as usize);
        if bytes.len() <= 100_000 {
            return Ok(Served { size, body: Body::Whole(bytes) });
        }
        // Parts that no frame is as long as.
        let parts = std::iter::from_fn(move || {
            let part = bytes.split_to(bytes.len().min(300_001));
            (!part.is_empty()).then_some(Ok(part))
        });
        Ok(Served { size, body: Body::Stream(Box::pin(stream::iter(parts))) })
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        let bytes = self.open(request.address, request.key.as_ref())?;
        Ok(Verified { size: bytes.len() as u64 })
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        let mut state = self.0.lock().unwrap();
        let Some(content) = state.contents.get_mut(&request.address) else { return Ok(Deletion::Absent) };
        match content.claims.get(&request.owner) {
            None => return Ok(Deletion::Absent),
            Some((newest, _)) if *newest > request.claim => return Ok(Deletion::Superseded),
            Some(_) => content.claims.remove(&request.owner),
        };
        if content.claims.is_empty() {
            state.contents.remove(&request.address);
        }
        Ok(Deletion::Deleted)
    }

    async fn backend_health(&self) -> Health {
        let state = self.0.lock().unwrap();
        Health {
            backend: "memory".to_owned(),
            trouble: None,
            contents: state.contents.len() as u64,
            stored_bytes: state.contents.values().map(|content| content.size).sum(),
            free_bytes: None,
        }
    }
}

#[async_trait]
impl Inventory for MemoryPlane {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let state = self.0.lock().unwrap();
        let listed = state.contents.iter().filter(|(address, _)| after.is_none_or(|after| **address > after));
        let listed = listed.filter_map(|(address, content)| {
            let (claim, claimed_at) = *content.claims.get(&owner)?;
            Some(Stored { address: *address, size: content.size, claim, claimed_at })
        });
        Ok(listed.take(limit).collect())
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        Ok(0)
    }
}
