//! Index records: what has changed, each in a sealed file of its own that is written once.
//!
//! A record can be read in any order with others: packs are listed, claims are made and given up by number, and the
//! highest number counts. Only a **summary** takes others back: it says all that the records which it supersedes said and
//! that still holds. It has parts, and counts when its last one is there, which names the others.

use mainstay_dataplane::{Address, Claim, Owner};
use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::keys::{Keys, Place};
use crate::pack::PackEntry;
use crate::recipe::Content;

pub(crate) const INDEX: &str = "index/";

/// The form of what is in a record, which is its first number.
const VERSION: u8 = 1;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) version: u8,
    #[n(1)]
    pub(crate) written_at: Timestamp,
    #[n(2)]
    pub(crate) packs: Vec<PackEntry>,
    #[n(3)]
    pub(crate) contents: Vec<Content>,
    #[n(4)]
    pub(crate) claims: Vec<Claimed>,
    #[n(5)]
    pub(crate) given_up: Vec<GivenUp>,
    /// The highest claim that was ever made, also on content that is gone.
    #[n(6)]
    pub(crate) last_claim: Claim,
    #[n(7)]
    pub(crate) summary: Option<Summary>,
}

/// An owner's claim on a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Claimed {
    #[n(0)]
    pub(crate) owner: Owner,
    #[n(1)]
    pub(crate) address: Address,
    #[n(2)]
    pub(crate) claim: Claim,
    #[n(3)]
    pub(crate) at: Timestamp,
}

/// All claims of an owner on a content up to this one are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct GivenUp {
    #[n(0)]
    pub(crate) owner: Owner,
    #[n(1)]
    pub(crate) address: Address,
    #[n(2)]
    pub(crate) claim: Claim,
}

/// What the last part of a summary says beside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Summary {
    /// The names of the parts before.
    #[n(0)]
    pub(crate) parts: Vec<String>,
    /// The names of the records that say nothing any more.
    #[n(1)]
    pub(crate) supersedes: Vec<String>,
}

impl Record {
    pub(crate) fn new(now: Timestamp, last_claim: Claim) -> Self {
        Self {
            version: VERSION,
            written_at: now,
            packs: Vec::new(),
            contents: Vec::new(),
            claims: Vec::new(),
            given_up: Vec::new(),
            last_claim,
            summary: None,
        }
    }

    pub(crate) fn says_more_than_packs(&self) -> bool {
        !(self.contents.is_empty() && self.claims.is_empty() && self.given_up.is_empty() && self.summary.is_none())
    }

    pub(crate) fn seal(&self, keys: &Keys, name: &str) -> Vec<u8> {
        let mut sealed = Vec::new();
        keys.seal(Place::Record(name), &mut sealed, |out| {
            minicbor::encode(self, out).expect("a vector takes everything");
        });
        sealed
    }

    /// What a record of some name says; otherwise why it cannot be read.
    pub(crate) fn open(keys: &Keys, name: &str, sealed: &mut [u8]) -> Result<Self, String> {
        let opened = keys.open(Place::Record(name), sealed);
        let opened = opened.ok_or("it does not open with the repository's key: bytes have changed")?;
        let mut decoder = minicbor::Decoder::new(opened);
        match decoder.array().and_then(|_| decoder.u8()) {
            Ok(VERSION) => minicbor::decode(opened).map_err(|error| error.to_string()),
            Ok(version) => Err(format!("it has version {version}, and this version of Mainstay reads {VERSION}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A new record's name, after all that are known.
pub(crate) fn name(sequence: u64) -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    format!("{INDEX}{sequence:016}-{:016x}", u64::from_be_bytes(random))
}

/// The number of a record; nothing where a file is no record.
pub(crate) fn sequence_of(name: &str) -> Option<u64> {
    let (sequence, random) = name.strip_prefix(INDEX)?.split_once('-')?;
    let digits = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits(sequence) && digits(random)).then(|| sequence.parse().ok()).flatten()
}
