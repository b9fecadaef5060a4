//! What is known of an object.

use mainstay_bucket::{Checksum, ETag, LegalHold, Metadata, Retention, Tags, VersionId};
use mainstay_dataplane::{Address, KeyId};
use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

/// A version of an object, or the object itself in a bucket without versions.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Version {
    /// Rises with each change of the index, so that it also tells which version is newer.
    #[n(0)]
    pub sequence: u64,
    #[n(1)]
    pub id: VersionId,
    #[n(2)]
    pub modified_at: Timestamp,
    /// In bytes.
    #[n(3)]
    pub size: u64,
    #[n(4)]
    pub content: Contents,
    #[n(5)]
    pub attributes: Attributes,
}

/// What a caller says of an object beside its bytes.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Attributes {
    #[n(0)]
    pub etag: ETag,
    #[n(1)]
    pub metadata: Metadata,
    #[n(2)]
    pub tags: Tags,
    #[n(3)]
    pub checksum: Option<Checksum>,
    #[n(4)]
    pub retention: Option<Retention>,
    #[n(5)]
    pub legal_hold: LegalHold,
    /// Whether S3's encryption at rest was asked for, and is told.
    #[n(6)]
    pub encrypted: bool,
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Contents {
    /// In one content.
    #[n(0)]
    One(#[n(0)] Piece),
    /// In the contents that a manifest lists, which is kept apart.
    #[n(1)]
    Many {
        /// Under this number.
        #[n(0)]
        manifest: u64,
        /// Of the upload that it was completed from.
        #[n(1)]
        upload: Option<u64>,
        #[n(2)]
        parts: u32,
    },
}

/// Content, or a piece of an object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    #[n(0)]
    pub address: Address,
    /// In bytes.
    #[n(1)]
    pub size: u64,
    /// The key that it was encrypted with when it was taken in. A later ingest may have encrypted it since.
    #[n(2)]
    pub key: Option<KeyId>,
}

/// What an object of several parts is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The parts as they were uploaded, in order.
    #[n(0)]
    pub parts: Vec<ManifestPart>,
    /// The contents, in order; a part that was copied may have several.
    #[n(1)]
    pub pieces: Vec<Piece>,
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ManifestPart {
    #[n(0)]
    pub number: u32,
    #[n(1)]
    pub size: u64,
    #[n(2)]
    pub checksum: Option<Checksum>,
}

/// A version or a delete marker, as a listing of versions has it.
#[derive(Debug, Clone, PartialEq)]
pub enum VersionEntry {
    Version(std::sync::Arc<Version>),
    Marker { sequence: u64, id: VersionId, modified_at: Timestamp },
}
