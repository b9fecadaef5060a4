//! What is done beside requests.

/// What was done in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Versions and delete markers that lifecycle rules removed, or objects that they hid.
    pub expired: u64,
    pub aborted_uploads: u64,
    /// Contents that nothing referred to any more.
    pub collected: u64,
    /// Contents that nothing ever referred to.
    pub orphans: u64,
    pub published: u64,
}
