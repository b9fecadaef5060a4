//! Access keys: who may speak S3.

use mainstay_types::{InstanceId, Timestamp};
use secrecy::SecretString;

/// A name that an access key goes by: 3 to 128 letters, digits and `-_.`; unique in the object store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(std::sync::Arc<str>);

/// Text that cannot name an access key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an access key's id is 3 to 128 letters, digits, `-`, `_` and `.`")]
pub struct InvalidAccessKeyId;

/// An access key.
#[derive(Debug, Clone)]
pub struct AccessKey {
    pub id: AccessKeyId,
    /// The instance whose buckets it opens.
    pub account: InstanceId,
    /// Until when; for ever where there is no end.
    pub valid_until: Option<Timestamp>,
}

/// An access key with what proves it.
#[derive(Debug, Clone)] // Cloned for each request: a signature needs the secret, and the map keeps its own.
pub struct KnownKey {
    pub key: AccessKey,
    pub secret: SecretString,
}

// === impl AccessKeyId ===

impl AccessKeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AccessKeyId {
    type Err = InvalidAccessKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (3..=128).contains(&text.len()) && text.bytes().all(fits) { Ok(Self(text.into())) } else { Err(InvalidAccessKeyId) }
    }
}

impl std::fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for AccessKeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
