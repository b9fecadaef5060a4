//! The backup repository: a content-addressed store with deduplication, compression and sealing, over any location.
//!
//! ```text
//! LOCATION/mainstay-repository.json      plain: what this is, and how to restore from it
//! LOCATION/packs/ab/<blake3>             chunks, compressed and sealed one by one, and a sealed table of them at the end
//! LOCATION/index/<sequence>-<random>     sealed: which chunks lie where, which contents are of which chunks, whose they are
//! LOCATION/documents/<kind>/<name>       sealed, small
//! LOCATION/locks/<id>                    plain: who writes
//! ```
#![allow(clippy::todo, unused, reason = "the shape comes first")]

mod credentials;
mod document;
mod error;
mod location;
mod mirror;
mod recovery_key;
mod repository;
mod verify;

pub use credentials::Credentials;
pub use document::DocumentError;
pub use error::{MirrorError, OpenError};
pub use location::{InvalidLocation, Location};
pub use mirror::{Behind, Mirrored, Newest};
pub use recovery_key::{InvalidKeyText, KeyShare, RecoveryKey, SplitError};
pub use repository::{Config, Repository, Statistics};
pub use verify::{Damage, Progress, Report, VerifyOptions};
