//! The backup repository: a content-addressed store with deduplication, compression and sealing, at any location.
//!
//! ```text
//! LOCATION/mainstay-repository.json      plain: what this is, and how to restore from it
//! LOCATION/mainstay-keeper.json          plain: the layer that keeps it
//! LOCATION/packs/ab/<blake3>             chunks, compressed and sealed one by one, and a sealed table of them at the end
//! LOCATION/index/<sequence>-<random>     sealed: which chunks lie where, which contents are of which chunks, whose they are
//! LOCATION/documents/<kind>/<name>       sealed, small
//! LOCATION/locks/<id>                    plain: who writes
//! LOCATION/copies/<id>.json              plain: how often a copy was brought up to date
//! LOCATION/mainstay-mirror.json          plain, in a copy: the same, and how far it came
//! LOCATION/unfinished/                   what has no name yet
//! ```
//!
//! All files but documents and locks are written once and never changed, so that a copy is the files that are missing there
//! ([`Repository::mirror`]), and a copy is a repository. A repository is read with its files and its [`RecoveryKey`] and
//! nothing else.
//!
//! Content is cut into **chunks** where it itself says so (FastCDC), and each chunk is kept once, under a keyed digest of its
//! bytes. What lies where is in **index records**, of which each says what has changed; content is there if and only if a
//! record says so, and a record is written when all that it lists is durable.

mod chunk;
mod commit;
mod credentials;
mod cutter;
mod document;
mod error;
mod files;
mod format;
mod index;
mod ingest;
mod inner;
mod keeper;
mod keys;
mod load;
mod location;
mod lock;
mod mirror;
mod pack;
mod recipe;
mod reclaim;
mod record;
mod recovery_key;
mod repository;
mod serve;
mod state;
mod verify;
mod workshop;

use tokio::task::JoinError;

pub use credentials::Credentials;
pub use document::{DocumentError, MAX_DOCUMENT};
pub use error::{MirrorError, OpenError};
pub use keeper::{Contender, KeepError, Keeper};
pub use location::{InvalidLocation, Location};
pub use mirror::{Behind, Mirrored, Newest};
pub use recovery_key::{InvalidKeyText, KeyShare, RecoveryKey, SplitError};
pub use repository::{Config, DEFAULT_RESERVED, Repository, Statistics};
pub use verify::{Damage, Progress, Report, VerifyOptions};

/// On a thread that may be busy, or wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

async fn joined<T>(work: impl Future<Output = Result<T, JoinError>>) -> T {
    match work.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels such work, and it polls nothing to its end any more.
            Err(_) => std::future::pending().await,
        },
    }
}
