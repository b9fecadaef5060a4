//! Where what happened to objects is told.

use async_trait::async_trait;
use mainstay_bucket::{BucketName, ETag, ObjectKey, VersionId};
use mainstay_types::{InstanceId, Timestamp};
use minicbor::{Decode, Encode};

/// Takes notifications, in the order in which they happened. Each is told at least once.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Records events durably, or says why not; they are told again later then.
    async fn publish(&self, events: &[ObjectEvent]) -> Result<(), FeedError>;
}

/// Why events were not recorded.
#[derive(Debug, thiserror::Error)]
#[error("notifications were not recorded")]
pub struct FeedError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What happened to an object, as a bucket's notification asked to be told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ObjectEvent {
    /// Rises with each change; an event that is told twice has the same number.
    #[n(0)]
    pub sequencer: u64,
    #[n(1)]
    pub occurred_at: Timestamp,
    /// The instance that the bucket belongs to.
    #[n(2)]
    pub account: InstanceId,
    #[n(3)]
    pub bucket: BucketName,
    #[n(4)]
    pub key: ObjectKey,
    /// None in a bucket that never had versions.
    #[n(5)]
    pub version: Option<VersionId>,
    /// S3's name of the event, for example `s3:ObjectCreated:Put`.
    #[n(6)]
    pub event: String,
    /// The id of the notification that asked for it.
    #[n(7)]
    pub configuration: String,
    #[n(8)]
    pub size: Option<u64>,
    #[n(9)]
    pub etag: Option<ETag>,
}
