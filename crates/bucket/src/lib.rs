//! What a bucket's settings mean: policy, lifecycle, locks, CORS, conditions, notifications.
//!
//! ```text
//! outside text -> parsed once -> Settings, Metadata, Tags, ...   (stored as CBOR)
//!                                   │
//! a request, a version, the time ──>│ a decision   (pure: no clock, no storage, no HTTP)
//! ```
//!
//! The rules are those of Amazon S3 as far as they apply to one account for each instance. What is not understood is
//! refused when it is put, so that nothing is stored which is not obeyed.

mod checksum;
pub mod conditions;
pub mod cors;
mod etag;
mod key;
pub mod lifecycle;
pub mod lock;
mod metadata;
mod name;
pub mod notification;
pub mod policy;
mod settings;
mod tags;
mod version;

pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, InvalidChecksum};
pub use conditions::Conditions;
pub use etag::ETag;
pub use key::{InvalidKey, ObjectKey};
pub use lock::{InvalidLock, LegalHold, LockDefault, LockPeriod, Locked, ObjectLock, Retention, RetentionMode};
pub use metadata::{HeaderText, Metadata, MetadataError, UserMetadata};
pub use name::BucketName;
pub use policy::{MalformedPolicy, Policy};
pub use settings::{Encryption, Ownership, PublicAccessBlock, Quota, Settings, UnknownFormat, Versioning};
pub use tags::{Tags, TagsError};
pub use version::{VersionId, VersionNumber};
