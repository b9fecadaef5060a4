//! Documents: small, sealed, named records, which may be replaced.

use mainstay_dataplane::Trouble;
use mainstay_types::Timestamp;

/// Why a document was not kept, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error(
        "{text:?} cannot name a document: use up to 200 of the characters A-Z a-z 0-9 . _ -, beginning with a letter or digit; \
         kinds may have several such parts between slashes"
    )]
    Name { text: String },
    #[error(
        "the document {name} has {len} bytes, and documents have {limit} at most: keep it as content, and its address in a document"
    )]
    TooLarge { name: String, len: usize, limit: usize },
    #[error("the document {name} is damaged: {reason}; restore it from another copy of the repository")]
    Damaged { name: String, reason: String },
    #[error(
        "the document {name} is kept until {until}: nothing younger than the repository's immutable period is removed"
    )]
    Immutable { name: String, until: Timestamp },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}
