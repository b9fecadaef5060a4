//! What is said over a connection, as CBOR.
//!
//! Each call is answered by a `Result` of what it asks for.

use mainstay_dataplane::{Address, Delete, Hints, Measure, Owner, Serve, Trouble, Verify};
use minicbor::{Decode, Encode};

/// The version of everything that is said. Both sides must have the same one; they come from one binary.
pub(crate) const VERSION: u32 = 1;

/// What a client asks for.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Call {
    /// The stream follows.
    #[n(0)]
    Ingest(#[n(0)] Hints),
    /// After the answer the stream follows, unless the answer held all of it.
    #[n(1)]
    Serve(#[n(0)] Serve),
    #[n(2)]
    Verify(#[n(0)] Verify),
    #[n(3)]
    Delete(#[n(0)] Delete),
    #[n(4)]
    Health,
    #[n(5)]
    Contents {
        #[n(0)]
        owner: Owner,
        #[n(1)]
        after: Option<Address>,
        #[n(2)]
        limit: u32,
    },
    #[n(6)]
    Reclaim,
}

/// The beginning of what is served.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Head {
    #[n(0)]
    pub(crate) size: u64,
    /// All that was asked for, where it is little.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) whole: Option<Vec<u8>>,
}

/// Why a stream was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Refusal {
    /// The stream did not come to its end, as far as the daemon saw it.
    #[n(0)]
    Source,
    #[n(1)]
    Mismatch(#[n(0)] Measure),
    #[n(2)]
    Trouble(#[n(0)] Trouble),
}
