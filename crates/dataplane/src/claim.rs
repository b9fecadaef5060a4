//! Who keeps content alive.

use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::Address;

/// A service that keeps content. What one of them gives up, another may still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Owner {
    #[n(0)]
    Objects,
    #[n(1)]
    Artifacts,
    #[n(2)]
    Backups,
}

/// The number of an owner's claim on one content. Each ingest of the content by that owner gives a higher one, so that
/// whoever deletes what it believes to be unused says which ingest it knows of last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Claim(#[n(0)] pub u64);

/// Content as an owner's inventory lists it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Stored {
    #[n(0)]
    pub address: Address,
    /// Of the content itself, in bytes.
    #[n(1)]
    pub size: u64,
    /// The owner's newest claim on it.
    #[n(2)]
    pub claim: Claim,
    /// When that claim was made.
    #[n(3)]
    pub claimed_at: Timestamp,
}
