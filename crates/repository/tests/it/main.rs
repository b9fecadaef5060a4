//! The repository in a directory, on stores and servers, damaged, full and killed.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod conformance;
mod copies;
mod crash;
mod faults;
mod fickle;
mod keepers;
mod life;
mod remote;

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{Address, Body, DataPlane, Hints, Owner, Receipt, Serve, ServeError, Source};
use mainstay_repository::{Config, Credentials, Location, RecoveryKey, Repository};

pub fn key() -> RecoveryKey {
    RecoveryKey::from_bytes(&[7; 32])
}

pub fn config(directory: &Path) -> Config {
    let location: Location = directory.to_str().unwrap().parse().unwrap();
    Config { reserved: 0, ..Config::new(location, Credentials::None) }
}

pub async fn open(directory: &Path) -> Repository {
    Repository::open_or_create(config(directory), &key()).await.unwrap()
}

pub fn hints() -> Hints {
    Hints::plain(Owner::Backups)
}

pub fn source(content: &Bytes) -> Source {
    let chunks: Vec<_> = content.chunks(100_001).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

pub async fn ingest(repository: &Repository, content: &Bytes) -> Receipt {
    repository.ingest_stream(source(content), hints()).await.unwrap()
}

pub async fn read(repository: &Repository, address: Address) -> Result<Bytes, ServeError> {
    let served = repository.serve_object(Serve { address, range: None, key: None }).await?;
    let mut read = Vec::new();
    match served.body {
        Body::Whole(bytes) => read.extend_from_slice(&bytes),
        Body::Stream(mut stream) => {
            while let Some(bytes) = stream.next().await {
                read.extend_from_slice(&bytes?);
            }
        }
    }
    Ok(read.into())
}

pub async fn gives(repository: &Repository, content: &Bytes) {
    assert!(read(repository, Address::of(content)).await.unwrap() == *content);
}

/// Marsaglia's xorshift.
pub fn next(state: u64) -> u64 {
    let state = state ^ state << 13;
    let state = state ^ state >> 7;
    state ^ state << 17
}

/// Bytes that differ by their seed, and that no compressor makes smaller.
pub fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = next(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// All files below a folder of a repository's directory, by path.
pub fn files(directory: &Path, folder: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Flips a bit of a file.
pub fn flip(path: &Path, byte: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[byte as usize] ^= 1 << (byte % 8);
    std::fs::write(path, bytes).unwrap();
}
