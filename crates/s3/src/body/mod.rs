//! Bodies of requests, on their way in.
//!
//! ```text
//! connection ─ Paced ─┬─ Upload: unframed, measured, verified ──> ingest      (the body of an object or a part)
//!                     └─ held: bounded, verified, then handed on ──> s3s      (XML, forms)
//! ```
//!
//! s3s checks the signature of a request's head and gets a body that it could read. Whoever keeps an object takes the body
//! itself out of the [`Slot`] instead: it is unframed without being held in memory, and hashed once.

mod chunked;
mod digest;
mod form;
mod framing;
mod held;
mod paced;
mod slot;
mod upload;

pub use digest::{Digester, of_parts};
pub use form::FormHead;
pub use framing::{Credential, Framing, region_of};
pub use held::{Digests, HeldLimits, Room, held, md5_of_header};
pub use paced::Paced;
pub use slot::Slot;
pub use upload::{Received, Upload, Wanted, WantedChecksum};

/// Why a body was not taken. Its sender hears it.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke off, or what it sent is no HTTP.
    #[error("the connection broke off")]
    Connection(#[source] hyper::Error),
    #[error("the sender stalled")]
    Stalled,
    #[error("the body has fewer bytes than its head says")]
    Incomplete,
    #[error("the body has more bytes than its head says")]
    TooLong,
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body has more than {limit} tags")]
    TooManyTags { limit: usize },
    #[error("the chunks of the body are malformed: {0}")]
    Framing(&'static str),
    #[error("the signature of a chunk does not match")]
    ChunkSignature,
    #[error("the body's {0} is not what its head or its trailer says")]
    Mismatch(Measured),
    #[error("the trailer that was announced did not come, or is no checksum")]
    Trailer,
}

/// What a body was measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// The SHA-256 that the request's signature covers.
    SignedSha256,
    Md5,
    Checksum(mainstay_bucket::ChecksumAlgorithm),
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SignedSha256 => f.write_str("SHA-256"),
            Self::Md5 => f.write_str("MD5"),
            Self::Checksum(algorithm) => algorithm.fmt(f),
        }
    }
}
