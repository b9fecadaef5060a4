//! All that is set for a bucket.

use minicbor::{Decode, Encode};

use crate::cors::CorsRules;
use crate::lifecycle::Lifecycle;
use crate::notification::Notifications;
use crate::{ObjectLock, Policy, Tags};

/// All that is set for a bucket.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    #[n(0)]
    pub versioning: Versioning,
    /// Whether its versions can be locked.
    #[n(1)]
    pub lock: Option<ObjectLock>,
    #[n(2)]
    pub policy: Option<Policy>,
    #[n(3)]
    pub cors: Option<CorsRules>,
    #[n(4)]
    pub lifecycle: Option<Lifecycle>,
    #[n(5)]
    pub tags: Option<Tags>,
    #[n(6)]
    pub encryption: Option<Encryption>,
    #[n(7)]
    pub notifications: Option<Notifications>,
    #[n(8)]
    pub quota: Quota,
    #[n(9)]
    pub public_access_block: Option<PublicAccessBlock>,
    #[n(10)]
    pub ownership: Option<Ownership>,
}

/// Whether a key's earlier contents are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Versioning {
    /// They never were: there are null versions only.
    #[default]
    #[n(0)]
    Unversioned,
    #[n(1)]
    Enabled,
    /// Earlier versions are kept, new ones replace the null version.
    #[n(2)]
    Suspended,
}

/// What a bucket may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Quota {
    /// Bytes of all versions and of the parts of uploads.
    #[n(0)]
    pub bytes: Option<u64>,
    /// Versions, delete markers not among them.
    #[n(1)]
    pub objects: Option<u64>,
}

/// How objects are encrypted at rest where a put says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Encryption {
    /// SSE-S3 (`AES256`): with a key that Mainstay keeps.
    #[n(0)]
    Aes256,
}

/// Which ways of making a bucket public are closed. Without ACLs the two about them mean nothing, and are told back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct PublicAccessBlock {
    #[n(0)]
    pub block_public_acls: bool,
    #[n(1)]
    pub ignore_public_acls: bool,
    /// A policy that makes the bucket public is refused when it is put.
    #[n(2)]
    pub block_public_policy: bool,
    /// A policy that makes the bucket public lets nobody in but the bucket's own account.
    #[n(3)]
    pub restrict_public_buckets: bool,
}

/// Who owns what others put. Buckets have no ACLs, as with `BucketOwnerEnforced`, the default in Amazon S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Ownership {
    #[default]
    #[n(0)]
    BucketOwnerEnforced,
}

/// Settings that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum UnknownFormat {
    #[error("a bucket's settings are in format {0}, which this version of Mainstay does not read: start a newer one")]
    Version(u8),
    #[error("a bucket's settings cannot be read")]
    Malformed(#[from] minicbor::decode::Error),
}

/// Raised with each change that an earlier version could not read.
const FORMAT: u8 = 1;

impl Settings {
    /// The settings as they are stored: the format's number and a map.
    pub fn to_cbor(&self) -> Vec<u8> {
        match minicbor::to_vec((FORMAT, self)) {
            Ok(bytes) => bytes,
            // A vector takes whatever is written to it, and no encoder of these types refuses a value.
            Err(error) => unreachable!("settings are encoded into memory: {error}"),
        }
    }

    /// Reads stored settings.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, UnknownFormat> {
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.array()?;
        match decoder.u8()? {
            FORMAT => Ok(decoder.decode()?),
            newer => Err(UnknownFormat::Version(newer)),
        }
    }
}
