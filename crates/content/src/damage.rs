//! What is wrong with stored bytes.

use mainstay_dataplane::{Address, ServeError};

/// Stored bytes are not what was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the bytes from {offset} on are not those that were stored")]
    Bytes {
        /// Of the group in the content.
        offset: u64,
    },
    #[error("{found} stored bytes were read where {expected} belong")]
    Length { expected: u64, found: u64 },
    #[error("block {0} is not what was encrypted with this key")]
    Sealed(u64),
    #[error("block {0} cannot be decompressed")]
    Compressed(u64),
    #[error("the hash tree is not that of the address")]
    Tree,
    #[error("the header is not what was stored: {0}")]
    Header(&'static str),
    /// Not damage perhaps, but nothing that this version can read.
    #[error("the header is of version {0}, which this version of Mainstay does not know")]
    Version(u8),
}

impl Damage {
    /// The contract's error of content that is damaged so.
    pub fn of(self, address: Address) -> ServeError {
        ServeError::Damaged { address, reason: self.to_string() }
    }
}
