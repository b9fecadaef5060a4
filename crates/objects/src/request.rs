//! What is asked of objects.

use std::sync::Arc;

use mainstay_bucket::conditions::Conditions;
use mainstay_bucket::{
    BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, LegalHold, Metadata, ObjectKey, Retention, Tags,
    VersionId,
};
use mainstay_dataplane::{Address, Compression, Expect, Md5, Sha256, Source};
use mainstay_types::Timestamp;

use crate::inflight::InFlight;
use crate::snapshot::Entry;
use crate::version::{Attributes, Piece, Version, VersionEntry};

/// Bytes that are to become an object, or a part of one.
pub struct Ingest {
    pub source: Source,
    /// What must be true of them; where it is not, nothing is kept.
    pub expect: Expect,
    /// Whether [`Content::md5`] is wanted.
    pub md5: bool,
    /// Whether they are encrypted at rest. A bucket's default encryption encrypts them too.
    pub encrypt: bool,
    pub compression: Compression,
}

/// Bytes that are durable and belong to nothing yet. While this value lives they are not collected; where nothing refers to
/// them when it is dropped, they are given up.
#[derive(Debug)]
pub struct Content {
    pub size: u64,
    /// Of content that was just taken in.
    pub sha256: Option<Sha256>,
    /// Where it was asked for.
    pub md5: Option<Md5>,
    pub encrypted: bool,
    pub(crate) pieces: Pieces,
    pub(crate) in_flight: InFlight,
}

/// What content is made of.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// Just taken in, with the claim that this made.
    Fresh(Piece, mainstay_dataplane::Claim),
    /// Of a version that exists, whose content must still be there when it is referred to.
    Known(Arc<crate::version::Manifest>),
}

/// Makes an object out of content.
#[derive(Debug)]
pub struct Put {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub content: Content,
    pub attributes: Attributes,
    pub conditions: Conditions,
    pub by: CreatedBy,
}

/// How an object came about, as notifications tell it. Completed uploads tell it of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatedBy {
    Put,
    Post,
    Copy,
}

/// Makes a version of a key what it was in a snapshot.
#[derive(Debug)]
pub struct Import {
    /// One that nobody but who imports writes to.
    pub bucket: BucketName,
    pub entry: Entry,
    /// Of each of its pieces, in order.
    pub contents: Vec<Content>,
}

/// Deletes an object, or a version of one.
#[derive(Debug, Clone)]
pub struct Delete {
    pub bucket: BucketName,
    pub key: ObjectKey,
    /// This version for good; without one, the object, which a delete marker hides where the bucket has versions.
    pub version: Option<VersionId>,
    pub conditions: Conditions,
    /// Whether the caller may, and asks to, delete what is retained in governance mode.
    pub bypass_governance: bool,
}

/// What was deleted. Where there was nothing, that is well too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The version that is gone, or the delete marker that was made.
    pub version: Option<VersionId>,
    /// Whether that version is a delete marker.
    pub marker: bool,
}

/// Asks for objects in the order of their keys' bytes.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    pub prefix: String,
    /// Keys that have it after the prefix are told as one common prefix.
    pub delimiter: Option<String>,
    /// Begins behind this key, or behind all keys below this common prefix.
    pub after: Option<String>,
    /// Objects and common prefixes together.
    pub limit: usize,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub objects: Vec<(ObjectKey, Arc<Version>)>,
    pub prefixes: Vec<String>,
    /// Where the next page begins behind; none where this is the last.
    pub next: Option<String>,
}

/// Asks for versions in the order of their keys' bytes, the newest of each key first.
#[derive(Debug, Clone, Default)]
pub struct VersionsQuery {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Begins behind this key, or behind this version of it.
    pub after: Option<(String, Option<VersionId>)>,
    pub limit: usize,
}

/// A page of a listing of versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VersionsPage {
    pub entries: Vec<ListedVersion>,
    pub prefixes: Vec<String>,
    pub next: Option<(String, Option<VersionId>)>,
}

/// A version in a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedVersion {
    pub key: ObjectKey,
    pub entry: VersionEntry,
    /// Whether it is the newest of its key.
    pub latest: bool,
}

/// Names an upload. As text it is 32 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId {
    pub(crate) sequence: u64,
    pub(crate) random: u64,
}

/// Text that names no upload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an upload's id is 32 lowercase hexadecimal digits, the first of them below 8")]
pub struct InvalidUploadId;

/// Begins an upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub attributes: UploadAttributes,
}

/// What is said of an object before its parts have come.
#[derive(Debug, Clone, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct UploadAttributes {
    #[n(0)]
    pub metadata: Metadata,
    #[n(1)]
    pub tags: Tags,
    #[n(2)]
    pub retention: Option<Retention>,
    #[n(3)]
    pub legal_hold: LegalHold,
    #[n(4)]
    pub encrypted: bool,
    /// The checksum that the object is to have.
    #[n(5)]
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// An upload that is not completed.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    pub id: UploadId,
    pub key: ObjectKey,
    pub created_at: Timestamp,
    pub attributes: UploadAttributes,
}

/// Names an upload and what it is for.
#[derive(Debug, Clone)]
pub struct UploadRef {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub id: UploadId,
}

/// Keeps a part of an upload, in place of an earlier one with its number.
#[derive(Debug)]
pub struct PutPart {
    pub upload: UploadRef,
    pub number: u32,
    pub content: Content,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// A part that was uploaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub number: u32,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub modified_at: Timestamp,
}

/// Makes an object out of an upload's parts.
#[derive(Debug, Clone)]
pub struct Complete {
    pub upload: UploadRef,
    /// The parts that it consists of, in ascending order.
    pub parts: Vec<CompletePart>,
    /// The checksum of the whole object, where the caller has one.
    pub checksum: Option<Checksum>,
    pub conditions: Conditions,
}

/// A part as the caller remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletePart {
    pub number: u32,
    pub etag: ETag,
}

/// Asks for uploads in the order of their keys' bytes, the oldest of each key first.
#[derive(Debug, Clone, Default)]
pub struct UploadsQuery {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Begins behind this key, or behind this upload of it.
    pub after: Option<(String, Option<UploadId>)>,
    pub limit: usize,
}

/// A page of a listing of uploads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UploadsPage {
    pub uploads: Vec<Upload>,
    pub prefixes: Vec<String>,
    pub next: Option<(String, Option<UploadId>)>,
}

// === impl Content ===

impl Content {
    /// Of content that was just taken in, what its digest says.
    pub fn address(&self) -> Option<Address> {
        match &self.pieces {
            Pieces::Fresh(piece, _) => Some(piece.address),
            Pieces::Known(_) => None,
        }
    }
}

// === impl UploadId ===

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.sequence, self.random)
    }
}

impl std::str::FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(InvalidUploadId);
        }
        let number = |digits| u64::from_str_radix(digits, 16).map_err(|_| InvalidUploadId);
        // The index counts in signed numbers: beyond them no upload was ever begun.
        let sequence = number(&text[..16])?;
        i64::try_from(sequence).map_err(|_| InvalidUploadId)?;
        Ok(Self { sequence, random: number(&text[16..])? })
    }
}
