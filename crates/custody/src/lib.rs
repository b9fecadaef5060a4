//! Secret material at rest: keyring and encrypted store
mod master_key;
mod path;
mod seal;
pub use master_key::{Fingerprint, MasterKey, MasterKeyError};
pub use path::{Below, InvalidPath, SecretPath};
