//! The five operations, and the door for whoever puts things in order.

use std::ops::Range;

use async_trait::async_trait;
use minicbor::{Decode, Encode};

use crate::{
    Address, Body, Claim, ContentKey, DeleteError, Hints, IngestError, KeyId, Md5, Owner, ServeError, Sha256, Source,
    Stored, Trouble,
};

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    #[n(0)]
    pub address: Address,
    #[n(1)]
    pub sha256: Sha256,
    /// Where the hints asked for it.
    #[n(2)]
    pub md5: Option<Md5>,
    /// Of the content itself, in bytes.
    #[n(3)]
    pub size: u64,
    #[n(4)]
    pub claim: Claim,
    /// The key that it is encrypted with, whether this ingest encrypted it or an earlier one.
    #[n(5)]
    pub key: Option<KeyId>,
    /// Whether it was there already, so that nothing was stored.
    #[n(6)]
    pub known: bool,
}

/// Asks for content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Serve {
    #[n(0)]
    pub address: Address,
    /// Bytes from `start` up to, not including, `end`; all where there is none.
    #[n(1)]
    pub range: Option<Range<u64>>,
    #[n(2)]
    pub key: Option<ContentKey>,
}

/// Content, or a part of it.
#[derive(Debug)]
pub struct Served {
    /// Of the whole content, in bytes.
    pub size: u64,
    pub body: Body,
}

/// Asks whether content is whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Verify {
    #[n(0)]
    pub address: Address,
    #[n(1)]
    pub key: Option<ContentKey>,
}

/// Content that was read in full and found whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Verified {
    /// Of the content itself, in bytes.
    #[n(0)]
    pub size: u64,
}

/// Gives up an owner's claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Delete {
    #[n(0)]
    pub owner: Owner,
    #[n(1)]
    pub address: Address,
    /// The newest claim that the owner knows of: where a later ingest has made another one, nothing is given up.
    #[n(2)]
    pub claim: Claim,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Deletion {
    /// It is given up; without another owner's the content is gone.
    #[n(0)]
    Deleted,
    /// There was none.
    #[n(1)]
    Absent,
    /// A later ingest has claimed the content anew, and it stays.
    #[n(2)]
    Superseded,
    /// It is younger than what the backend promises to keep, and stays for now.
    #[n(3)]
    Kept,
}

/// How a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Health {
    /// The backend's published name: `seed-fs` or `rustfs`.
    #[n(0)]
    pub backend: String,
    /// Why it cannot work now, where it cannot.
    #[n(1)]
    pub trouble: Option<String>,
    /// Contents that are kept.
    #[n(2)]
    pub contents: u64,
    /// What they take at rest, in bytes, as far as the backend knows.
    #[n(3)]
    pub stored_bytes: u64,
    /// Room that is left, in bytes, where the backend can tell.
    #[n(4)]
    pub free_bytes: Option<u64>,
}

/// Everything that Mainstay does with bytes.
///
/// Operations run at the same time, on the same content too. None waits without a bound for the backend; how long a
/// caller's stream may take is the caller's affair. A call that is dropped ends its work and leaves nothing behind, or
/// the whole.
#[async_trait]
pub trait DataPlane: Send + Sync + 'static {
    /// Keeps a stream under the address of its content. What the receipt tells is durable, and claimed for the owner.
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError>;

    /// Serves content or a range of it. What is served has been verified, piece by piece before it is handed out, and the
    /// first piece before this returns. An empty range is served as nothing.
    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError>;

    /// Reads content in full, not from a cache of its own, and says whether it is whole.
    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError>;

    /// Gives up a claim; the content goes with its last one. Asked again, it leads to the same end. A stream that is being
    /// served goes on to its end.
    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError>;

    /// How the backend is, looked up now. Answers within seconds, whatever the backend does.
    async fn backend_health(&self) -> Health;
}

/// What only whoever puts things in order needs: an owner's view of what is kept for it, and the room of what is gone.
#[async_trait]
pub trait Inventory: Send + Sync + 'static {
    /// The contents that an owner claims, by address, beginning after one; at most `limit`, and fewer only at the end.
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble>;

    /// Gives back the room that content left behind which is gone; answers the bytes. What runs beside goes on.
    ///
    /// It is asked for every day: a backend that has to copy what is kept to get at the room may leave what costs more to
    /// copy than it gives, which is at most a quarter of what it keeps together, as long as it has room for what comes.
    async fn reclaim(&self) -> Result<u64, Trouble>;
}
