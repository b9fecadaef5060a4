//! Reads everything and says what is damaged.

use mainstay_bucket::{BucketName, ObjectKey};
use mainstay_dataplane::Address;
use mainstay_types::InstanceId;

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Contents that were read.
    pub contents: u64,
    /// Bytes of those that are whole.
    pub bytes: u64,
    pub damaged: Vec<DamagedContent>,
}

/// Content that is not what was stored, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedContent {
    pub address: Address,
    /// What was found.
    pub reason: String,
    /// What refers to it, up to a bound.
    pub touches: Vec<Touched>,
}

/// An object that damage touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    pub account: InstanceId,
    pub bucket: BucketName,
    pub key: ObjectKey,
}

/// How far a scrub is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    pub contents: u64,
    /// Of contents in the index, about.
    pub total: u64,
    pub bytes: u64,
    pub damaged: u64,
}
