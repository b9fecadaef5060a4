//! The data plane: every byte that Mainstay keeps goes through these five operations.
//!
//! ```text
//! caller -> ingest_stream -> content address       address -> serve_object -> verified bytes
//! ```
//!
//! Content is named by what it is: its address is its BLAKE3 digest, and identical content is kept once. An **owner** (a
//! service that keeps content) holds a **claim** on each content it has ingested; content lives as long as anybody
//! claims it. What refers to content within a service, and how often, is that service's own business.
//!
//! All types but the streams are CBOR, so that an implementation in this process and one behind a socket are the same
//! contract, held to the same suite.

mod address;
mod claim;
#[cfg(feature = "conformance")]
#[allow(clippy::unwrap_used, reason = "the suite is a test that happens to be a library")]
pub mod conformance;
mod contract;
mod error;
mod hints;
mod stream;

pub use address::{Address, InvalidAddress, Md5, Sha256};
pub use claim::{Claim, Owner, Stored};
pub use contract::{DataPlane, Delete, Deletion, Health, Inventory, Receipt, Serve, Served, Verified, Verify};
pub use error::{DeleteError, IngestError, Measure, ServeError, Trouble};
pub use hints::{Compression, ContentKey, Cut, Expect, Hints, KeyId};
pub use stream::{Body, ByteStream, Source, SourceError};
