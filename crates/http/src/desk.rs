//! Who keeps the layer's repository and its key, as the native API asks them.

use async_trait::async_trait;
use mainstay_types::Timestamp;
use secrecy::SecretString;

/// Who keeps the layer's repository and its key.
#[async_trait]
pub trait RecoveryDesk: Send + Sync + 'static {
    /// How everything is now. Answers within seconds, whether the repository does or not.
    async fn standing(&self) -> Standing;

    /// All that has to be printed and kept in a safe place.
    async fn kit(&self) -> Result<SecretString, DeskError>;

    /// The recovery key in shares, of which so many make it again.
    async fn shares(&self, shares: u8, threshold: u8) -> Result<Vec<SecretString>, DeskError>;

    /// Makes the repository this layer's own, whoever kept it until now and whatever was there; the standing tells what came of it.
    async fn take_over(&self);

    /// Begins to read everything; where that is done already, it goes on.
    fn begin_verification(&self, bytes_per_second: Option<u64>);

    /// The verification that runs, or the last one since the control plane started.
    fn verification(&self) -> Verification;
}

/// Why the recovery key was not given.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It may be given later: custody is sealed, or does not answer.
    #[error("the recovery key cannot be read from custody now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Numbers(String),
}

/// How the layer's recovery is.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Where the repository lies, without credentials.
    pub location: String,
    /// None while it was never open.
    pub repository_id: Option<String>,
    /// Why it cannot be used now.
    pub trouble: Option<String>,
    /// Documents that can not be read.
    pub damaged_documents: Vec<String>,
    /// None while custody is sealed.
    pub key_fingerprint: Option<String>,
    pub contents: u64,
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    pub last_layer_backup: Option<Timestamp>,
    /// The journal's newest event that is in it.
    pub last_layer_sequence: u64,
    pub layer_backup_trouble: Option<String>,
    pub copies: Vec<CopyStanding>,
}

/// How a copy of the repository is.
#[derive(Debug, Clone, Default)]
pub struct CopyStanding {
    pub location: String,
    /// When it last had everything that the repository had.
    pub mirrored_at: Option<Timestamp>,
    pub behind_files: Option<u64>,
    pub behind_bytes: Option<u64>,
    pub trouble: Option<String>,
}

/// A reading of everything that the repository holds.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub done_bytes: u64,
    pub total_bytes: u64,
    pub damaged: Vec<RepositoryDamage>,
    /// Damage beyond what is listed.
    pub unlisted: u64,
    /// Why it did not come to its end.
    pub error: Option<String>,
}

/// Something in the repository that is not what was written.
#[derive(Debug, Clone, Default)]
pub struct RepositoryDamage {
    pub file: String,
    pub chunk: Option<String>,
    pub reason: String,
    /// What cannot be restored whole because of it, in words.
    pub belongs_to: Vec<String>,
}
