//! The encrypted store: one secret for each path.

use std::sync::Arc;

use mainstay_storage::{Location, ReadError, Row, Service, Statement, Store, Value, WriteError};
use secrecy::{ExposeSecret, SecretString};

use crate::barrier::Barrier;
use crate::draw::draw_secret;
use crate::keyring::{KeyVersion, Keyring, KeyringError};
use crate::master_key::MasterKey;
use crate::path::{Below, SecretPath};
use crate::schema::SCHEMA;

/// The longest secret in bytes: passwords, tokens, keys and certificate chains are all far shorter.
pub const LONGEST_SECRET: usize = 64 * 1024;

/// How many paths one call of [`Custody::list`] gives at most: some 100 KiB.
pub const PAGE: u32 = 1000;

/// How often a write that met another one on its path is tried again. Each time one of them gets through.
const ATTEMPTS: u32 = 16;

/// The one authority for secret material. A clone is another handle to it.
#[derive(Clone)]
pub struct Custody {
    store: Store,
    keyring: Arc<Keyring>,
}

/// Why the secret store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(mainstay_storage::OpenError),
    #[error(transparent)]
    Keyring(KeyringError),
}

/// Why a secret was not kept, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("secret {path} is damaged, or was not written to this place; restore the secret store from a backup")]
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

/// A record as it is stored.
struct Sealed {
    version: i64,
    key_version: i64,
    sealed: Vec<u8>,
}

// === impl Custody ===

impl Custody {
    /// Opens the store at a location with its master key; a new store is sealed with that key from then on.
    pub async fn open(location: &Location, master: MasterKey) -> Result<Self, OpenError> {
        let store = Store::open(location, Service::Custody, SCHEMA).await.map_err(OpenError::Storage)?;
        let keyring = Keyring::open(store.clone(), master).await.map_err(OpenError::Keyring)?;
        Ok(Self { store, keyring: Arc::new(keyring) })
    }

    /// The barrier that the store's entries lie behind.
    pub fn barrier(&self) -> Barrier {
        Barrier::new(self.store.clone(), self.keyring.clone())
    }

    /// Keeps a secret at a path, in the place of the one that was there.
    pub async fn put(&self, path: &SecretPath, secret: &SecretString) -> Result<(), RecordError> {
        for _ in 0..ATTEMPTS {
            let current = self.read(path).await?.map(|sealed| sealed.version);
            if self.write(path, current, secret).await? {
                return Ok(());
            }
        }
        Err(RecordError::Contended { path: path.clone() })
    }

    /// The secret at a path, which is generated first where there is none: [`SECRET_LENGTH`](crate::SECRET_LENGTH)
    /// letters and digits from the operating system's generator. However many call this at once, all get the same.
    pub async fn generate(&self, path: &SecretPath) -> Result<SecretString, RecordError> {
        for _ in 0..ATTEMPTS {
            if let Some(secret) = self.get(path).await? {
                return Ok(secret);
            }
            let secret = draw_secret().map_err(RecordError::Random)?;
            if self.write(path, None, &secret).await? {
                return Ok(secret);
            }
        }
        Err(RecordError::Contended { path: path.clone() })
    }

    /// The secret at a path, where there is one.
    pub async fn get(&self, path: &SecretPath) -> Result<Option<SecretString>, RecordError> {
        let Some(Sealed { version, key_version, sealed }) = self.read(path).await? else { return Ok(None) };
        let damaged = || RecordError::Damaged { path: path.clone() };
        let key_version = KeyVersion::try_from(key_version).map_err(|_| damaged())?;
        let opened = self
            .keyring
            .unseal(key_version, &place(path, version, key_version), &sealed)
            .await
            .map_err(|source| RecordError::Keyring { path: path.clone(), source })?
            .ok_or_else(damaged)?;
        let text = std::str::from_utf8(&opened).map_err(|_| damaged())?;
        Ok(Some(SecretString::from(text)))
    }

    /// Removes the secret at a path. That there is none is no error.
    pub async fn delete(&self, path: &SecretPath) -> Result<(), RecordError> {
        let delete = Statement::new("DELETE FROM records WHERE path = $1", [path.as_str().into()]);
        self.store.write(vec![delete]).await.map_err(|source| RecordError::Write { path: path.clone(), source })
    }

    /// The paths below another, in byte order, after the last one of the page before; at most [`PAGE`] of them.
    pub async fn list(&self, below: &Below, after: Option<&SecretPath>) -> Result<Vec<SecretPath>, ReadError> {
        let (from, to) = below.range();
        let select = "SELECT path FROM records WHERE path >= $1 AND path < $2 AND path > $3 ORDER BY path LIMIT $4";
        let after = after.map_or("", SecretPath::as_str);
        let rows = self.store.read(Statement::new(select, [from.into(), to.into(), after.into(), PAGE.into()])).await?;
        rows.iter()
            .map(|row| row.text(0)?.parse().map_err(|error| ReadError::Other { source: Box::new(error) }))
            .collect()
    }

    /// Makes a new data key for what is written from now on; what was written before stays readable.
    pub async fn rotate_data_key(&self) -> Result<KeyVersion, KeyringError> {
        self.keyring.rotate().await
    }

    /// Seals the data keys with a new master key, whose file must be in place before; the old one opens nothing any more.
    pub async fn rewrap(&self, master: MasterKey) -> Result<(), KeyringError> {
        self.keyring.rewrap(master).await
    }

    /// Whether the store answers now.
    pub async fn health(&self) -> Result<(), ReadError> {
        self.store.health().await
    }

    /// Finishes what was begun and gives up the connections. Later calls fail.
    pub async fn close(&self) {
        self.store.close().await;
    }

    async fn read(&self, path: &SecretPath) -> Result<Option<Sealed>, RecordError> {
        let select = "SELECT version, key_version, sealed FROM records WHERE path = $1";
        let answer = self.store.read(Statement::new(select, [path.as_str().into()])).await;
        answer
            .and_then(|rows| rows.first().map(Sealed::from_row).transpose())
            .map_err(|source| RecordError::Read { path: path.clone(), source })
    }

    /// Stores the version after `current`; false where the record is not at `current` any more.
    async fn write(&self, path: &SecretPath, current: Option<i64>, secret: &SecretString) -> Result<bool, RecordError> {
        let value = secret.expose_secret().as_bytes();
        if value.len() > LONGEST_SECRET {
            return Err(RecordError::TooLong { path: path.clone(), length: value.len() });
        }
        let damaged = || RecordError::Damaged { path: path.clone() };
        let version = current.unwrap_or(0).checked_add(1).ok_or_else(damaged)?;
        let (key_version, sealed) =
            self.keyring.seal(|key_version| place(path, version, key_version), value).map_err(RecordError::Random)?;
        let mut parameters = vec![path.as_str().into(), Value::from(version), key_version.into(), sealed.into()];
        let sql = match current {
            None => {
                "INSERT INTO records (path, version, key_version, sealed) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (path) DO NOTHING"
            }
            Some(current) => {
                parameters.push(current.into());
                "UPDATE records SET version = $2, key_version = $3, sealed = $4 WHERE path = $1 AND version = $5"
            }
        };
        match self.store.write(vec![Statement::new(sql, parameters).expect(1)]).await {
            Ok(()) => Ok(true),
            Err(WriteError::ExpectationNotMet { .. }) => Ok(false),
            Err(source) => Err(RecordError::Write { path: path.clone(), source }),
        }
    }
}

// === impl Sealed ===

impl Sealed {
    fn from_row(row: &Row) -> Result<Self, ReadError> {
        Ok(Self { version: row.integer(0)?, key_version: row.integer(1)?, sealed: row.blob(2)?.to_vec() })
    }
}

/// What binds a record to its path, its version and the version of its key. The path comes last: what stands before
/// it has a fixed length, so that no two places are written alike.
fn place(path: &SecretPath, version: i64, key_version: KeyVersion) -> Vec<u8> {
    let purpose = &b"mainstay custody record\0"[..];
    [purpose, &key_version.to_be_bytes(), &version.to_be_bytes(), path.as_str().as_bytes()].concat()
}
