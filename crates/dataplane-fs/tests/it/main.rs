//! The content store on real disks: the contract's suite, crashes, full disks, flipped bits, lost indexes.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod conformance;
mod crash;
mod damage;
mod full_disk;
mod index;
mod life;
mod samples;
mod tidying;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Address, Body, Claim, ContentKey, DataPlane, Delete, Deletion, Hints, Inventory, KeyId, Owner, Receipt, Serve,
    ServeError, Source, Stored,
};
use mainstay_dataplane_fs::{FsConfig, FsPlane};

/// How long what goes on in the background may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A store whose limits are so low that everything happens often: packs follow each other, content lies in files.
fn busy() -> FsConfig {
    FsConfig {
        small_up_to: 40_000,
        pack_len: 300_000,
        cached_places: 20,
        checkpoint_after: 40,
        reserved: 0,
        tidy: true,
    }
}

async fn open(directory: &Path, config: FsConfig) -> FsPlane {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    FsPlane::open(directory, config).await.unwrap()
}

/// Bytes that differ by their seed.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = next(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Marsaglia's xorshift.
fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ state << 17
}

fn plain() -> Hints {
    Hints::plain(Owner::Objects)
}

fn key() -> ContentKey {
    ContentKey::new(KeyId(7), [7; 32].into())
}

fn source(content: &Bytes) -> Source {
    let chunks: Vec<_> = content.chunks(50_001).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

async fn ingest(plane: &FsPlane, content: &Bytes) -> Receipt {
    plane.ingest_stream(source(content), plain()).await.unwrap()
}

async fn delete(plane: &FsPlane, owner: Owner, address: Address, claim: Claim) -> Deletion {
    plane.delete_object(Delete { owner, address, claim }).await.unwrap()
}

async fn read(plane: &FsPlane, address: Address, key: Option<ContentKey>) -> Result<Vec<u8>, ServeError> {
    let mut read = Vec::new();
    match plane.serve_object(Serve { address, range: None, key }).await?.body {
        Body::Whole(bytes) => read.extend_from_slice(&bytes),
        Body::Stream(mut stream) => {
            while let Some(bytes) = stream.next().await {
                read.extend_from_slice(&bytes?);
            }
        }
    }
    Ok(read)
}

/// Everything that an owner claims.
async fn all(plane: &FsPlane, owner: Owner) -> Vec<Stored> {
    plane.contents(owner, None, usize::MAX).await.unwrap()
}

const OWNERS: [Owner; 3] = [Owner::Objects, Owner::Artifacts, Owner::Backups];

/// Everything that anybody claims.
async fn everything(plane: &FsPlane) -> Vec<(Owner, Stored)> {
    let mut everything = Vec::new();
    for owner in OWNERS {
        everything.extend(all(plane, owner).await.into_iter().map(|stored| (owner, stored)));
    }
    everything
}

/// All files of a kind in a store.
fn files(directory: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.join(kind)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Gives up every claim, takes the room back, and finds that none is lost.
async fn empties(directory: &Path, plane: &FsPlane) {
    for (owner, stored) in everything(plane).await {
        assert_eq!(delete(plane, owner, stored.address, stored.claim).await, Deletion::Deleted);
    }
    plane.reclaim().await.unwrap();
    assert_eq!(files(directory, "files"), Vec::<PathBuf>::new(), "no file is left");
    assert_eq!(files(directory, "incoming"), Vec::<PathBuf>::new(), "nothing is left coming in");
    let health = plane.backend_health().await;
    assert_eq!((health.contents, health.stored_bytes, health.trouble), (0, 0, None));
    plane.close().await;
    let packs: u64 = files(directory, "packs").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(packs < 10_000, "{packs} bytes are left in packs where nothing is kept");
}

/// Waits until something is so.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} should have come true within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where the body of a content's record lies in which pack, as the format's description says: the address stands in the
/// note, behind a prefix of 40 bytes that tells the lengths of note and body.
fn record_of(directory: &Path, address: &Address) -> Option<Record> {
    for path in files(directory, "packs") {
        let bytes = std::fs::read(&path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        for at in (1024..bytes.len().saturating_sub(40)).step_by(8).filter(|at| bytes[*at..].starts_with(b"msr1")) {
            let (note_len, body_len) = (word(at + 4), word(at + 8));
            let Some(note) = bytes.get(at + 40..at + 40 + note_len) else { continue };
            if body_len > 0 && note.windows(32).any(|window| window == address.digest().as_bytes()) {
                return Some(Record { pack: path, at, body: at + 40 + note_len, end: at + 40 + note_len + body_len });
            }
        }
    }
    None
}

#[derive(Debug)]
struct Record {
    pack: PathBuf,
    /// Of the prefix.
    at: usize,
    body: usize,
    end: usize,
}

/// The file of a content, where it has one.
fn file_of(directory: &Path, address: &Address) -> Option<PathBuf> {
    let digest = address.digest().to_string();
    files(directory, "files").into_iter().find(|path| path.to_str().unwrap().contains(&digest))
}

fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at as u64).unwrap();
}
