//! The data plane on any S3-compatible store: RustFS, Garage, MinIO, AWS (`rustfs`).
//!
//! ```text
//! PREFIX/contents/<address>      the record of a content: size, claims, where it lies; little content lies in it
//! PREFIX/data/<id>/<number>      larger content, in segments
//! PREFIX/data/<id>/header        what was done with it, and its hash tree
//! PREFIX/intents/<id>            data that may be nobody's: it is being written, or being removed
//! ```
//!
//! A stream's address is known at its end, so that its data lies under an id of its own, and a **record** publishes it:
//! content is there if and only if its record is. Data is announced by an **intent** before its first byte and forgotten
//! after its last, so that whatever a crash leaves behind is found without looking at anything else. Segments are plain
//! objects and no multipart uploads: nothing that a listing does not show is ever left in the store.
//!
//! One process writes at a time; within it, each content has a lock. Where the store honours conditional writes (Garage
//! takes them and ignores them), records change by them in addition.

mod census;
mod config;
mod damage_seen;
mod delete;
mod failure;
mod in_use;
mod ingest;
mod inventory;
mod keys;
mod operator;
mod plane;
mod publish;
mod record;
mod serve;
mod store;
mod upload;

pub use config::{OpenError, Patience, S3Config};
pub use plane::S3Plane;

/// The store past the data plane, for this crate's own tests and benchmarks.
#[doc(hidden)]
pub use operator::build as operator;
