//! The barrier of secret custody: everything above it is plain, everything below it is sealed.
//!
//! ```text
//! seal (key file, key shares) ──wraps──> root key ──wraps──> data keys (versioned) ──seal──> entries (path -> value)
//! ```
//!
//! Every value is sealed with XChaCha20-Poly1305 and bound to its path, its revision and the version of its key, so that an
//! entry moved to another path, or put back under another revision, does not open. A sealed head holds a keyed sum over
//! all entries, so that one that was put back whole, or removed, is found when the store is unsealed. What a single store
//! cannot tell is that all of it was put back to an older state; [`Custody::position`] is for a witness elsewhere, such as
//! the journal.
//!
//! Nothing here prints a secret: secrets are [`secrecy::SecretString`]s and [`zeroize::Zeroizing`] bytes, keys are
//! overwritten when they are dropped, and no error repeats either.

mod aead;
mod barrier;
mod cache;
mod custody;
mod decide;
mod draw;
mod head;
mod inner;
mod integrity;
mod keyring;
mod layer;
mod listing;
mod operators;
mod path;
mod process;
mod record;
mod schema;
mod seal;
mod snapshot;
mod writer;

pub use barrier::{Barrier, BarrierError, Change, CommitError, Entry, Expect, LARGEST_VALUE, LONGEST_PATH};
pub use custody::{Custody, OpenError};
pub use draw::{SECRET_LENGTH, draw_secret};
pub use head::IntegrityError;
pub use inner::UnsealError;
pub use keyring::{KeyStatus, KeyVersion, KeyringError};
pub use layer::{LONGEST_SECRET, PAGE, RecordError};
pub use mainstay_storage::{ReadError, WriteError};
pub use operators::{OperatorError, Proof, Proven, RekeyStatus, Rekeyed, SealStatus};
pub use path::{Below, InvalidPath, SecretPath};
pub use process::{ZEROIZE_ON_FREE, ZeroizeOnFree, protect_process};
pub use seal::{
    AttemptStatus, Fingerprint, InvalidShare, InvalidSplit, MasterKey, MasterKeyError, Nonce, Seal, SealFault,
    SealKind, Share, Split,
};
pub use snapshot::{RestoreError, SnapshotError, SnapshotSummary, Target};
