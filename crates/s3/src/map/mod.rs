//! S3's types and ours.

mod attributes;
mod checksum;
mod conditions;
mod cors;
mod lifecycle;
mod lock;
mod notification;
mod tags;
mod time;
mod whose;

pub(crate) use attributes::tell_metadata;
pub use attributes::{content_type, expires, metadata, user_metadata};
pub use checksum::{checksum_kind, kind_told, told_checksum};
pub(crate) use checksum::{tell_checksum, told_checksums};
pub use conditions::{copy_conditions, read_conditions, tag_conditions, tags_of};
pub use cors::{cors_rules, cors_told};
pub use lifecycle::{lifecycle, lifecycle_told};
pub use lock::{legal_hold, lock_configuration, lock_told, retention, retention_told};
pub use notification::{notifications, notifications_told};
pub use tags::{bucket_tags, header_tags, object_tags, tags_told};
pub use time::{http_date, moment, timestamp};
pub use whose::{initiator, owner};

/// An entity tag as s3s writes it between quotes.
pub fn etag(etag: &mainstay_bucket::ETag) -> s3s::dto::ETag {
    s3s::dto::ETag::Strong(etag.to_string())
}

/// A size as S3's API has it.
pub fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
