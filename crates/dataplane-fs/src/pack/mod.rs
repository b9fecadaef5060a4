//! Packs: the log of the store, in files of bounded length.
//!
//! A pack is a head and records one after the other. Packs are numbered, and never renumbered: the order of the packs,
//! and within them that of the records, is the order in which everything happened.

mod head;
mod log;
mod record;
mod scan;
mod set;

pub(crate) use head::{HEAD_LEN, Head, PackKey};
pub(crate) use log::{Log, Purpose};
pub(crate) use record::{Note, Prefix, Subject, body_check, encode, parse, record_len};
pub(crate) use scan::{Found, Scan, read_head};
pub(crate) use set::Packs;

use minicbor::{Decode, Encode};

/// The number of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct PackId(#[n(0)] pub u32);

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Spot {
    #[n(0)]
    pub pack: PackId,
    /// Of its first byte.
    #[n(1)]
    pub offset: u32,
    /// All of it, in bytes.
    #[n(2)]
    pub len: u32,
}

impl std::fmt::Display for PackId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08}", self.0)
    }
}
