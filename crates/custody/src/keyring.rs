//! The data keys: versioned, each wrapped by the master key, unwrapped in memory while the store is open.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mainstay_storage::{ReadError, Row, Statement, Store, WriteError};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::master_key::{Fingerprint, MasterKey};
use crate::seal::{self, KEY_LENGTH, KeyBytes};

/// Counts the data keys. The first is 1.
pub type KeyVersion = u32;

/// Why the keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error(
        "the master key {given} is not the one that the secrets are sealed with, which is {expected}; \
         name the file that holds that one"
    )]
    WrongMasterKey { given: Fingerprint, expected: String },
    #[error("data key {version} of the secret store is damaged; restore the store from a backup")]
    Damaged { version: i64 },
    #[error("the secret store holds secrets and no data key; restore the store from a backup")]
    Lost,
    #[error("the keys of the secret store were changed by another process at the same time; try again")]
    Contended,
    #[error("the keys of the secret store cannot be read")]
    Read(#[source] ReadError),
    #[error("the keys of the secret store cannot be changed")]
    Write(#[source] WriteError),
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

pub(crate) struct Keyring {
    store: Store,
    open: RwLock<Open>,
    /// Held while keys are changed: one change at a time in this process.
    change: Mutex<()>,
}

struct Open {
    master: MasterKey,
    data: BTreeMap<KeyVersion, KeyBytes>,
}

// === impl Keyring ===

impl Keyring {
    /// Unwraps the keys of a store; a new store gets its first one.
    pub async fn open(store: Store, master: MasterKey) -> Result<Self, KeyringError> {
        let mut data = load(&store, &master).await?;
        if data.is_empty() {
            let record = Statement::new("SELECT version FROM records LIMIT 1", []);
            if !store.read(record).await.map_err(KeyringError::Read)?.is_empty() {
                return Err(KeyringError::Lost);
            }
            // Two processes may open a new store at once: the first one's key is the key of both.
            let (_, add) = wrap_new(&master, 1)?;
            store.write(vec![add]).await.map_err(KeyringError::Write)?;
            data = load(&store, &master).await?;
        }
        Ok(Self { store, open: RwLock::new(Open { master, data }), change: Mutex::new(()) })
    }

    /// Seals a value with the newest key; the place may depend on that key's version.
    pub fn seal(
        &self,
        place: impl FnOnce(KeyVersion) -> Vec<u8>,
        value: &[u8],
    ) -> Result<(KeyVersion, Vec<u8>), getrandom::Error> {
        let open = self.read();
        let (&version, key) = open.data.last_key_value().expect("an open keyring has at least one key");
        Ok((version, seal::seal(key, &place(version), value)?))
    }

    /// Opens a value; none where the key, the place or the value is not the one.
    ///
    /// A key that this process does not know may be another's work, so that the keys are read again for it.
    pub async fn unseal(
        &self,
        version: KeyVersion,
        place: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        if !self.read().data.contains_key(&version) {
            self.reload().await?;
        }
        Ok(self.read().data.get(&version).and_then(|key| seal::open(key, place, sealed)))
    }

    /// Makes a new data key, which seals what is written from now on.
    pub async fn rotate(&self) -> Result<KeyVersion, KeyringError> {
        let _change = self.change.lock().await;
        let (version, key, statements) = {
            let open = self.read();
            let version = open.data.last_key_value().map_or(1, |(newest, _)| newest + 1);
            let (key, add) = wrap_new(&open.master, version)?;
            (version, key, vec![none_under_another(open.master.fingerprint()), add.expect(1)])
        };
        match self.store.write(statements).await {
            Ok(()) => {
                self.write().data.insert(version, key);
                Ok(version)
            }
            Err(error) => Err(self.not_changed(error).await),
        }
    }

    /// Wraps all data keys with a new master key; the old one opens nothing any more.
    pub async fn rewrap(&self, master: MasterKey) -> Result<(), KeyringError> {
        let _change = self.change.lock().await;
        let statements = {
            let open = self.read();
            let old = open.master.fingerprint().to_text();
            let mut statements = Vec::with_capacity(open.data.len() + 1);
            for (&version, key) in &open.data {
                let sealed = wrap(&master, version, key)?;
                let parameters =
                    [version.into(), old.as_str().into(), master.fingerprint().to_text().into(), sealed.into()];
                let update = "UPDATE data_keys SET master_key = $3, sealed = $4 WHERE version = $1 AND master_key = $2";
                statements.push(Statement::new(update, parameters).expect(1));
            }
            // A key that another process has made meanwhile would be left behind under the old master key.
            statements.push(none_under_another(master.fingerprint()));
            statements
        };
        match self.store.write(statements).await {
            Ok(()) => {
                self.write().master = master;
                Ok(())
            }
            Err(error) => Err(self.not_changed(error).await),
        }
    }

    /// Why a change was not made. Where another process was faster its keys are read, so that a second try can work.
    async fn not_changed(&self, error: WriteError) -> KeyringError {
        match error {
            WriteError::ExpectationNotMet { .. } => self.reload().await.err().unwrap_or(KeyringError::Contended),
            error => KeyringError::Write(error),
        }
    }

    async fn reload(&self) -> Result<(), KeyringError> {
        let rows = self.store.read(all_keys()).await.map_err(KeyringError::Read)?;
        let mut open = self.write();
        open.data = unwrap_all(&open.master, &rows)?;
        if open.data.is_empty() { Err(KeyringError::Lost) } else { Ok(()) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Open> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(store: &Store, master: &MasterKey) -> Result<BTreeMap<KeyVersion, KeyBytes>, KeyringError> {
    let rows = store.read(all_keys()).await.map_err(KeyringError::Read)?;
    unwrap_all(master, &rows)
}

fn all_keys() -> Statement {
    Statement::new("SELECT version, master_key, sealed FROM data_keys ORDER BY version", [])
}

fn unwrap_all(master: &MasterKey, rows: &[Row]) -> Result<BTreeMap<KeyVersion, KeyBytes>, KeyringError> {
    rows.iter().map(|row| unwrap(master, row)).collect()
}

fn unwrap(master: &MasterKey, row: &Row) -> Result<(KeyVersion, KeyBytes), KeyringError> {
    let stored = row.integer(0).map_err(KeyringError::Read)?;
    let expected = row.text(1).map_err(KeyringError::Read)?;
    let sealed = row.blob(2).map_err(KeyringError::Read)?;
    let given = master.fingerprint();
    let damaged = || KeyringError::Damaged { version: stored };
    let version = KeyVersion::try_from(stored).map_err(|_| damaged())?;
    match seal::open(master.bytes(), &place(version), sealed) {
        Some(opened) if expected == given.to_text() => {
            let bytes: &[u8; KEY_LENGTH] = opened.as_slice().try_into().map_err(|_| damaged())?;
            Ok((version, KeyBytes::new(*bytes)))
        }
        None if expected != given.to_text() => {
            Err(KeyringError::WrongMasterKey { given, expected: expected.chars().take(16).collect() })
        }
        _ => Err(damaged()),
    }
}

fn wrap_new(master: &MasterKey, version: KeyVersion) -> Result<(KeyBytes, Statement), KeyringError> {
    let key = seal::draw_key().map_err(KeyringError::Random)?;
    let sealed = wrap(master, version, &key)?;
    let add =
        "INSERT INTO data_keys (version, master_key, sealed) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING";
    Ok((key, Statement::new(add, [version.into(), master.fingerprint().to_text().into(), sealed.into()])))
}

fn wrap(master: &MasterKey, version: KeyVersion, key: &KeyBytes) -> Result<Vec<u8>, KeyringError> {
    seal::seal(master.bytes(), &place(version), &**key).map_err(KeyringError::Random)
}

/// A statement that undoes its transaction where some key is wrapped by another master key than this one.
fn none_under_another(master: Fingerprint) -> Statement {
    let touch = "UPDATE data_keys SET master_key = master_key WHERE master_key <> $1";
    Statement::new(touch, [master.to_text().into()]).expect(0)
}

/// What binds a wrapped data key to its version.
fn place(version: KeyVersion) -> Vec<u8> {
    [&b"mainstay custody data key\0"[..], &version.to_be_bytes()].concat()
}
