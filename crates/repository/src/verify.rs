//! Reading everything.

use mainstay_dataplane::Address;

/// How a verification is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Bytes that are read each second at most; as fast as it goes where there is none.
    pub bytes_per_second: Option<u64>,
}

/// How far a verification, or a copy, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub packs: u64,
    pub chunks: u64,
    pub index_records: u64,
    pub documents: u64,
    pub bytes: u64,
    /// Empty where all is whole.
    pub damage: Vec<Damage>,
    /// Damage beyond what is listed.
    pub unlisted: u64,
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file: `packs/ab/<digest>`, `index/…`, `documents/<kind>/<name>`.
    pub file: String,
    /// The chunk in it, where the damage has one.
    pub chunk: Option<String>,
    pub reason: String,
    /// The contents that cannot be read whole because of it.
    pub contents: Vec<Address>,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}
