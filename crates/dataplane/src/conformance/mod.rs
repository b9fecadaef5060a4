//! The suite that every implementation passes.
//!
//! A [`Fixture`] says how an implementation is opened at a place of its own, and how its stored bytes are damaged there;
//! [`run`] holds it to every promise of [`DataPlane`] and [`Inventory`].

mod claims;
mod damage;
mod encryption;
mod ingest;
mod inventory;
mod races;
mod serve;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{
    Address, Body, ContentKey, DataPlane, Delete, Deletion, Hints, IngestError, Inventory, KeyId, Owner, Receipt,
    Serve, ServeError, Source, Verified, Verify,
};

/// How long any one case may take. The slowest implementation is behind a network and a store of somebody else's.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// How long what goes on in the background may take until it shows.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Bytes in the chunks that sources give: no divisor of anything.
const CHUNK: usize = 50_001;

/// Makes places where the implementation can keep content.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A place where nothing has been kept yet, another one each time.
    async fn place(&self) -> Box<dyn Place>;

    /// Whether content may come with a key. Where it may not, since all that is kept is encrypted with a key of the
    /// implementation's own, the cases of content with keys are left out, and an ingest that brings one is to be refused.
    fn takes_keys(&self) -> bool {
        true
    }
}

/// Where an implementation keeps content.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the implementation there. It is opened again after all that it was opened as before has been dropped.
    async fn open(&self) -> Subject;

    /// Flips a bit of the stored bytes of some content; which byte, says a number that may be larger than there are bytes.
    /// The implementation is not open meanwhile.
    async fn damage(&self, address: Address, byte: u64);
}

/// An implementation that is open.
#[derive(Clone)]
pub struct Subject {
    pub plane: Arc<dyn DataPlane>,
    pub inventory: Arc<dyn Inventory>,
}

/// Runs the whole suite.
pub async fn run(fixture: &dyn Fixture) {
    ingest::cases(fixture).await;
    serve::cases(fixture).await;
    claims::cases(fixture).await;
    match fixture.takes_keys() {
        true => encryption::cases(fixture).await,
        false => encryption::refusal(fixture).await,
    }
    inventory::cases(fixture).await;
    races::cases(fixture).await;
    damage::cases(fixture).await;
}

/// Runs a case at a new place.
async fn case<C, F>(fixture: &dyn Fixture, name: &str, case: C)
where
    C: FnOnce(Box<dyn Place>) -> F,
    F: Future<Output = ()>,
{
    let place = fixture.place().await;
    let done = tokio::time::timeout(CASE_LIMIT, case(place)).await;
    assert!(done.is_ok(), "the case `{name}` did not end within {CASE_LIMIT:?}");
}

/// Waits until something is so.
async fn eventually<C, F>(what: &str, mut holds: C)
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + SETTLE_LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} should have come true within {SETTLE_LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that differ by their seed, that no compressor makes smaller, and that repeat nowhere.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Marsaglia's xorshift: good enough to be nobody's pattern.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Bytes that compress well.
fn text(seed: u64, len: usize) -> Bytes {
    (0..).flat_map(|line: u64| format!("{seed}: line {line}\n").into_bytes()).take(len).collect::<Vec<u8>>().into()
}

fn source(content: &Bytes) -> Source {
    let chunks: Vec<_> = content.chunks(CHUNK).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

fn key(id: u32) -> ContentKey {
    ContentKey::new(KeyId(id), [id as u8; 32].into())
}

fn plain() -> Hints {
    Hints::plain(Owner::Objects)
}

impl Subject {
    async fn try_ingest(&self, content: &Bytes, hints: Hints) -> Result<Receipt, IngestError> {
        self.plane.ingest_stream(source(content), hints).await
    }

    async fn ingest(&self, content: &Bytes, hints: Hints) -> Receipt {
        let receipt = self.try_ingest(content, hints).await.unwrap();
        assert_eq!((receipt.address, receipt.size), (Address::of(content), content.len() as u64));
        receipt
    }

    async fn try_read(
        &self,
        address: Address,
        range: Option<Range<u64>>,
        key: Option<ContentKey>,
    ) -> Result<Vec<u8>, ServeError> {
        let served = self.plane.serve_object(Serve { address, range, key }).await?;
        let mut read = Vec::new();
        match served.body {
            Body::Whole(bytes) => read.extend_from_slice(&bytes),
            Body::Stream(mut stream) => {
                while let Some(bytes) = stream.next().await {
                    read.extend_from_slice(&bytes?);
                }
            }
        }
        Ok(read)
    }

    /// Serves some content whole, as it is. It is not printed where it is not: that would be megabytes.
    async fn gives(&self, content: &Bytes, key: Option<ContentKey>) {
        let address = Address::of(content);
        match self.try_read(address, None, key).await {
            Ok(read) => {
                assert!(read == *content, "{} bytes should be {address} of {} bytes", read.len(), content.len())
            }
            Err(error) => panic!("{address} of {} bytes is not served: {error}", content.len()),
        }
    }

    async fn verify(&self, address: Address, key: Option<ContentKey>) -> Result<Verified, ServeError> {
        self.plane.verify_object(Verify { address, key }).await
    }

    async fn delete(&self, receipt: &Receipt) -> Deletion {
        self.delete_for(Owner::Objects, receipt).await
    }

    async fn delete_for(&self, owner: Owner, receipt: &Receipt) -> Deletion {
        let request = Delete { owner, address: receipt.address, claim: receipt.claim };
        self.plane.delete_object(request).await.unwrap()
    }

    async fn contents(&self) -> u64 {
        let health = self.plane.backend_health().await;
        assert_eq!(health.trouble, None);
        health.contents
    }

    /// Nothing of some content is left, and nothing else was kept either.
    async fn keeps_only(&self, contents: u64, absent: Address) {
        assert_eq!(self.try_read(absent, None, None).await, Err(ServeError::Absent(absent)));
        assert_eq!(self.verify(absent, None).await, Err(ServeError::Absent(absent)));
        eventually("what was not kept is gone", || async { self.contents().await == contents }).await;
        for owner in [Owner::Objects, Owner::Artifacts, Owner::Backups] {
            let listed = self.inventory.contents(owner, None, 1000).await.unwrap();
            assert!(listed.iter().all(|stored| stored.address != absent));
        }
    }
}
