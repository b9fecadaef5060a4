//! Buckets, objects, versions and uploads: content on the data plane, the index on storage.
//!
//! ```text
//! bytes ─ ingest ─> Content ─ put ─> writer: decide (pure) ─> one transaction ─> visible ─> answered
//! ```
//!
//! An object is visible if and only if its bytes are durable: content comes first, the index refers to it afterwards, and
//! what nothing refers to is collected after a time of grace.

mod access_key;
mod account;
mod cache;
mod directory;
mod error;
mod feed;
mod fetch;
mod inflight;
mod inner;
mod keeper;
mod keys;
mod listing;
mod mutation;
mod objects;
mod quota;
mod read;
mod request;
mod schema;
mod scrub;
mod scrubber;
mod snapshot;
mod stage;
mod stored;
mod version;
mod walk;
mod writer;

pub use access_key::{AccessKey, AccessKeyId, InvalidAccessKeyId, KnownKey};
pub use account::{Account, Bucket, Limits, NewBucket, Usage};
pub use error::{Error, IndexError, IngestError, OpenError, ReadError, Refusal};
pub use feed::{Feed, FeedError, ObjectEvent};
pub use keeper::Kept;
pub use keys::{Keys, KeysError};
pub use objects::{AccessKeyError, Foundations, Objects, ObjectsConfig, SettingsChange};
pub use quota::Target;
pub use read::Hold;
pub use request::{
    Complete, CompletePart, Content, CreatedBy, Delete, Deleted, Import, Ingest, InvalidUploadId, ListQuery,
    ListedVersion, NewUpload, Page, Part, Put, PutPart, Upload, UploadAttributes, UploadId, UploadRef, UploadsPage,
    UploadsQuery, VersionsPage, VersionsQuery,
};
pub use scrub::{DamagedContent, ScrubProgress, ScrubReport, Touched};
pub use scrubber::{ScrubLog, ScrubRun, Scrubber};
pub use snapshot::{Entry, Record};
pub use version::{Attributes, Contents, Manifest, ManifestPart, Piece, Version, VersionEntry};
