//! Seals: what keeps the root key, which wraps all other keys.
//!
//! ```text
//! seal (key file, shares, later a KMS or TPM) ──wraps──> root key ──wraps──> data keys ──seal──> entries
//! ```

mod attempt;
mod master_key;
mod shamir;
mod share;
mod stored;

use zeroize::Zeroizing;

pub(crate) use attempt::{Attempt, Collected};
pub use attempt::{AttemptStatus, Nonce};
pub use master_key::{Fingerprint, MasterKey, MasterKeyError};
pub(crate) use shamir::ShamirKey;
pub use shamir::{InvalidSplit, Split};
pub use share::{InvalidShare, Share};
pub(crate) use stored::StoredSeal;

/// What a seal is, without any key. Bound to the wrapped root key, so that it cannot be changed behind custody's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealKind {
    /// A [`MasterKey`] in a file, which is there at every start.
    KeyFile,
    /// A key that operators hold in shares, and bring together to unseal.
    Shamir(Split),
}

/// Why a seal did not answer: for one that asks a service elsewhere.
pub type SealFault = Box<dyn std::error::Error + Send + Sync>;

/// Wraps the root key with a key that is not in the store.
///
/// An implementation keeps its key only as long as it is itself kept, and overwrites it then; custody drops a seal as soon
/// as it has unsealed or was rewrapped with it.
#[async_trait::async_trait]
pub trait Seal: Send + Sync {
    /// What it is.
    fn kind(&self) -> SealKind;

    /// Names the wrapping key without saying anything of it, in at most 200 bytes: a fingerprint, or a service's key id.
    fn key_id(&self) -> String;

    /// Wraps a key so that it opens only with the same context.
    async fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>, SealFault>;

    /// What [`Seal::wrap`] wrapped; none where the wrapping key, the context or a bit is another.
    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, SealFault>;
}

// === impl SealKind ===

impl SealKind {
    /// The word that Vault's API has for it where it has one.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::KeyFile => "keyfile",
            Self::Shamir(_) => "shamir",
        }
    }

    /// Whether another seal of this kind can open what this one wrapped.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// What binds the wrapped root key to the kind of its seal.
    pub(crate) fn context(&self) -> Vec<u8> {
        let (shares, threshold) = match self {
            Self::KeyFile => (0, 0),
            Self::Shamir(split) => (split.shares(), split.threshold()),
        };
        [b"mainstay custody root key\0", self.as_str().as_bytes(), &[0, shares, threshold]].concat()
    }
}

impl std::fmt::Display for SealKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeyFile => f.write_str("a key file"),
            Self::Shamir(split) => write!(f, "{} key shares, of which {} unseal", split.shares(), split.threshold()),
        }
    }
}
