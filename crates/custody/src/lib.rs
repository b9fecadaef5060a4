//! Secret material at rest: keyring and encrypted store.
//!
//! ```text
//! master key (a file) ──wraps──> data keys (versioned, in the store) ──encrypt──> records (path -> secret)
//! ```
//!
//! Every value is sealed with XChaCha20-Poly1305 and bound to the place that it is kept in, so that a record moved to
//! another path, or put back under another version, does not open. What a single store cannot tell is that a whole row,
//! or the whole store, was put back to an older state; that takes a witness elsewhere, such as the journal.
//!
//! Nothing here prints a secret: they are [`secrecy::SecretString`]s, keys are overwritten when they are dropped, and no
//! error repeats either.

mod barrier;
mod custody;
mod draw;
mod keyring;
mod master_key;
mod path;
mod schema;
mod seal;

pub use barrier::{Barrier, BarrierError, Change, CommitError, Entry, Expect, LARGEST_VALUE};
pub use custody::{Custody, LONGEST_SECRET, OpenError, PAGE, RecordError};
pub use draw::{SECRET_LENGTH, draw_secret};
pub use keyring::{KeyVersion, KeyringError};
pub use mainstay_storage::{ReadError, WriteError};
pub use master_key::{Fingerprint, MasterKey, MasterKeyError};
pub use path::{Below, InvalidPath, SecretPath};
