//! A copy of the repository somewhere else.

use mainstay_types::Timestamp;

/// What became of a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    pub copied_files: u64,
    pub copied_bytes: u64,
    pub removed_files: u64,
    /// What is still missing there, as far as it was known at the end.
    pub behind: Behind,
}

/// How far a copy is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    pub files: u64,
    pub bytes: u64,
    /// The newest document of the repository, and of its copy.
    pub newest_here: Option<Newest>,
    pub newest_there: Option<Newest>,
}

/// A document and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// `<kind>/<name>`.
    pub name: String,
    pub written_at: Timestamp,
}
