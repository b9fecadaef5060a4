//! The layer's own secrets, one text for each path, behind the same barrier as everybody else's.

use mainstay_storage::{ReadError, WriteError};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::barrier::{BarrierError, Change, CommitError, Expect};
use crate::custody::Custody;
use crate::draw::draw_secret;
use crate::keyring::KeyringError;
use crate::path::{Below, SecretPath};

/// The longest secret in bytes: passwords, tokens, keys and certificate chains are all far shorter.
pub const LONGEST_SECRET: usize = 64 * 1024;

/// How many paths one call of [`Custody::list`] gives at most: some 100 KiB.
pub const PAGE: u32 = 1000;

/// How often generating a secret that met another's change of its path is tried again. Each time one of them gets through.
const ATTEMPTS: u32 = 16;

/// Where the layer's secrets stand among all entries.
const PREFIX: &str = "layer/";

/// Why a secret was not kept, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("custody is sealed, and secret {path} with it; unseal it first")]
    Sealed { path: SecretPath },
    #[error("secret {path} is damaged, or was not written to this place; restore the secret store from a snapshot")]
    Damaged { path: SecretPath },
    #[error("secret {path} has {length} bytes and may have {LONGEST_SECRET}; keep a shorter one")]
    TooLong { path: SecretPath, length: usize },
    #[error("secret {path} is written by many at the same time; try again")]
    Contended { path: SecretPath },
    #[error("the keys for secret {path} cannot be had")]
    Keyring {
        path: SecretPath,
        #[source]
        source: KeyringError,
    },
    #[error("secret {path} cannot be read")]
    Read {
        path: SecretPath,
        #[source]
        source: ReadError,
    },
    #[error("secret {path} cannot be written")]
    Write {
        path: SecretPath,
        #[source]
        source: WriteError,
    },
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

impl Custody {
    /// Keeps a secret at a path, in the place of the one that was there.
    pub async fn put(&self, path: &SecretPath, secret: &SecretString) -> Result<(), RecordError> {
        match self.change(path, Expect::Anything, Some(secret)).await? {
            true => Ok(()),
            false => Err(RecordError::Contended { path: path.clone() }),
        }
    }

    /// Keeps a secret at a path where there is none.
    pub async fn put_new(&self, path: &SecretPath, secret: &SecretString) -> Result<(), RecordError> {
        match self.change(path, Expect::Absent, Some(secret)).await? {
            true => Ok(()),
            false => Err(RecordError::Contended { path: path.clone() }),
        }
    }

    /// The secret at a path, which is generated first where there is none: [`SECRET_LENGTH`](crate::SECRET_LENGTH)
    /// letters and digits from the operating system's generator. However many call this at once, all get the same.
    pub async fn generate(&self, path: &SecretPath) -> Result<SecretString, RecordError> {
        for _ in 0..ATTEMPTS {
            if let Some(secret) = self.get(path).await? {
                return Ok(secret);
            }
            let secret = draw_secret().map_err(RecordError::Random)?;
            if self.change(path, Expect::Absent, Some(&secret)).await? {
                return Ok(secret);
            }
        }
        Err(RecordError::Contended { path: path.clone() })
    }

    /// The secret at a path, where there is one.
    pub async fn get(&self, path: &SecretPath) -> Result<Option<SecretString>, RecordError> {
        let entry = self.barrier().get(&entry_of(path)).await.map_err(|error| told(error, path))?;
        let Some(entry) = entry else { return Ok(None) };
        let text = std::str::from_utf8(&entry.value).map_err(|_| RecordError::Damaged { path: path.clone() })?;
        Ok(Some(SecretString::from(text)))
    }

    /// Removes the secret at a path. That there is none is no error.
    pub async fn delete(&self, path: &SecretPath) -> Result<(), RecordError> {
        self.change(path, Expect::Anything, None).await.map(drop)
    }

    /// The paths below another, in byte order, after the last one of the page before; at most [`PAGE`] of them.
    pub async fn list(&self, below: &Below, after: Option<&SecretPath>) -> Result<Vec<SecretPath>, BarrierError> {
        let prefix = match below {
            Below::Root => PREFIX.to_owned(),
            Below::Path(path) => format!("{PREFIX}{path}/"),
        };
        let after = after.map(entry_of);
        let paths = self.barrier().paths(&prefix, after.as_deref(), PAGE as usize).await?;
        paths.into_iter().map(|path| path[PREFIX.len()..].parse().map_err(|_| BarrierError::Damaged { path })).collect()
    }

    /// Whether the entry was as expected and is changed.
    async fn change(
        &self,
        path: &SecretPath,
        expect: Expect,
        secret: Option<&SecretString>,
    ) -> Result<bool, RecordError> {
        let value = secret.map(|secret| Zeroizing::new(secret.expose_secret().as_bytes().to_vec()));
        if let Some(length) = value.as_ref().map(|value| value.len()).filter(|&length| length > LONGEST_SECRET) {
            return Err(RecordError::TooLong { path: path.clone(), length });
        }
        match self.barrier().commit(vec![Change { path: entry_of(path), expect, value }]).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(CommitError::Barrier(error)) => Err(told(error, path)),
        }
    }
}

fn entry_of(path: &SecretPath) -> String {
    format!("{PREFIX}{path}")
}

fn told(error: BarrierError, path: &SecretPath) -> RecordError {
    let path = path.clone();
    match error {
        BarrierError::Sealed => RecordError::Sealed { path },
        BarrierError::Damaged { .. } => RecordError::Damaged { path },
        BarrierError::TooLarge { length, .. } => RecordError::TooLong { path, length },
        BarrierError::Keyring { source, .. } => RecordError::Keyring { path, source },
        BarrierError::Read(source) => RecordError::Read { path, source },
        BarrierError::Write(source) => RecordError::Write { path, source },
        BarrierError::Random(error) => RecordError::Random(error),
        error @ (BarrierError::Integrity(_) | BarrierError::InvalidPath { .. }) => {
            RecordError::Read { path, source: ReadError::Other { source: Box::new(error) } }
        }
    }
}
