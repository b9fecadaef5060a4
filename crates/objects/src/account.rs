//! Whose the buckets are, and how much they hold.

use mainstay_bucket::{BucketName, Settings};
use mainstay_types::{InstanceId, Timestamp};
use minicbor::{Decode, Encode};

/// An instance as the object store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: InstanceId,
    pub limits: Limits,
    /// Whether everything of it is being deleted, and nothing new is let in.
    pub closing: bool,
}

/// What all buckets of an instance may hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    #[n(0)]
    pub buckets: u32,
    #[n(1)]
    pub bytes: Option<u64>,
    /// Versions count too; delete markers do not.
    #[n(2)]
    pub objects: Option<u64>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    pub name: BucketName,
    pub account: InstanceId,
    pub created_at: Timestamp,
    pub settings: Settings,
    pub(crate) id: BucketId,
}

/// Asks for a bucket.
#[derive(Debug, Clone)]
pub struct NewBucket {
    pub name: BucketName,
    pub account: InstanceId,
    pub settings: Settings,
}

/// What a bucket, or all buckets of an instance, hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of all versions.
    pub bytes: u64,
    /// Versions that are no delete markers.
    pub objects: u64,
    pub markers: u64,
    /// Parts of uploads that are not completed; they count towards the quota of bytes.
    pub uploading_bytes: u64,
    pub uploads: u64,
}

/// A bucket's number in the index: never used again, unlike its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BucketId(pub i64);

// === impl Limits ===

impl Default for Limits {
    /// One bucket, which holds what there is room for.
    fn default() -> Self {
        Self { buckets: 1, bytes: None, objects: None }
    }
}

// === impl Usage ===

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.objects += other.objects;
        self.markers += other.markers;
        self.uploading_bytes += other.uploading_bytes;
        self.uploads += other.uploads;
    }
}
