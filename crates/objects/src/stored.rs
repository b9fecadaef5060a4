//! Records as the index keeps them: the number of their format and CBOR.

use std::sync::Arc;

use mainstay_bucket::{Checksum, ETag, VersionId};
use mainstay_types::{InstanceId, Timestamp};
use minicbor::decode::Error;
use minicbor::{Decode, Encode};

use crate::account::Limits;
use crate::request::UploadAttributes;
use crate::version::{Piece, Version, VersionEntry};

/// Raised with each change that an earlier version could not read.
const FORMAT: u8 = 1;

/// A row of `accounts`.
#[derive(Debug, Encode, Decode)]
pub(crate) struct StoredAccount {
    #[n(0)]
    pub limits: Limits,
    #[n(1)]
    pub closing: bool,
}

/// A row of `versions`.
#[derive(Debug, Encode, Decode)]
pub(crate) enum StoredEntry {
    #[n(0)]
    Version(#[n(0)] Box<Version>),
    #[n(1)]
    Marker {
        #[n(0)]
        sequence: u64,
        #[n(1)]
        id: VersionId,
        #[n(2)]
        modified_at: Timestamp,
    },
}

/// A row of `uploads`.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct StoredUpload {
    #[n(0)]
    pub random: u64,
    #[n(1)]
    pub created_at: Timestamp,
    #[n(2)]
    pub attributes: UploadAttributes,
}

/// A row of `upload_parts`.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct StoredPart {
    #[n(0)]
    pub size: u64,
    #[n(1)]
    pub etag: ETag,
    #[n(2)]
    pub checksum: Option<Checksum>,
    #[n(3)]
    pub modified_at: Timestamp,
    #[n(4)]
    pub pieces: Vec<Piece>,
}

/// A row of `access_keys`.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct StoredAccessKey {
    #[n(0)]
    pub account: InstanceId,
    #[n(1)]
    pub valid_until: Option<Timestamp>,
    /// The key that the secret is sealed with.
    #[n(2)]
    pub key: u32,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: Vec<u8>,
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

/// A record for its row.
pub(crate) fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    match minicbor::encode(record, &mut bytes) {
        Ok(()) => bytes,
        // A vector takes whatever is written to it, and no encoder of these types refuses a value.
        Err(error) => unreachable!("a record is encoded into memory: {error}"),
    }
}

/// A record from its row.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => minicbor::decode(rest),
        Some(_) => Err(Error::message("the format of a record is not known; a newer Mainstay wrote it")),
        None => Err(Error::end_of_input()),
    }
}

impl StoredEntry {
    pub fn of(entry: &VersionEntry) -> Self {
        match entry {
            VersionEntry::Version(version) => Self::Version(Box::new(Version::clone(version))),
            VersionEntry::Marker { sequence, id, modified_at } => {
                Self::Marker { sequence: *sequence, id: *id, modified_at: *modified_at }
            }
        }
    }

    pub fn entry(self) -> VersionEntry {
        match self {
            Self::Version(version) => VersionEntry::Version(Arc::from(version)),
            Self::Marker { sequence, id, modified_at } => VersionEntry::Marker { sequence, id, modified_at },
        }
    }
}

/// A row of `versions`.
pub(crate) fn encode_entry(entry: &VersionEntry) -> Vec<u8> {
    encode(&StoredEntry::of(entry))
}

pub(crate) fn decode_entry(bytes: &[u8]) -> Result<VersionEntry, Error> {
    Ok(decode::<StoredEntry>(bytes)?.entry())
}
