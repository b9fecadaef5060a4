//! Sealed snapshots: the whole store as it is stored, in one stream, useless without the seal.

mod format;
mod restore;
mod take;

pub use restore::{RestoreError, Target};
pub use take::{SnapshotError, SnapshotSummary};
