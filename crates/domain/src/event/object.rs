//! What happens to objects, told where their bucket's owner asked for it. The subject is `BUCKET/KEY`.

use mainstay_types::{InstanceId, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// Defines events that tell what a bucket's notification tells.
macro_rules! notifications {
    ($($(#[$documentation:meta])* $event:ident,)*) => {
        $($(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
        pub struct $event {
            #[n(0)]
            pub notification: Notification,
        })*
    };
}

notifications! {
    /// An object, or a version of one, is there that was not.
    ObjectCreated,
    /// An object is gone, or is hidden by a delete marker.
    ObjectRemoved,
    /// An object's tags are others.
    ObjectTagged,
    /// A lifecycle rule has removed an object.
    ObjectExpired,
}

/// What a bucket's notification tells, in the words of S3's event messages.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Notification {
    #[n(0)]
    pub instance: InstanceId,
    /// S3's name of the event, for example `s3:ObjectCreated:Put`.
    #[n(1)]
    pub event: String,
    /// The id of the notification that asked for it.
    #[n(2)]
    pub configuration: String,
    #[n(3)]
    pub bucket: String,
    #[n(4)]
    pub key: String,
    #[n(5)]
    pub version: Option<String>,
    /// Bytes; none where it has none, as a delete marker.
    #[n(6)]
    pub size: Option<u64>,
    #[n(7)]
    pub etag: Option<String>,
    /// When it happened, which may be some time before it was told.
    #[n(8)]
    pub occurred_at: Timestamp,
    /// Rises with each change of the same key. An event can be told twice, with the same number.
    #[n(9)]
    pub sequencer: u64,
}

/// All stored content was read and compared with its digests. The subject is the object store.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ScrubCompleted {
    /// Contents that were read.
    #[n(0)]
    pub contents: u64,
    #[n(1)]
    pub bytes: u64,
    /// Those that were not whole.
    #[n(2)]
    pub damaged: u64,
}

/// Stored bytes are not those that were stored. The subject is the content's address.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ContentDamaged {
    /// What was found.
    #[n(0)]
    pub reason: String,
    /// The instances whose objects it belongs to.
    #[n(1)]
    pub instances: Vec<InstanceId>,
    /// Some of those objects, as `BUCKET/KEY`.
    #[n(2)]
    pub objects: Vec<String>,
}
