//! The keys of an unsealed store, all wrapped by the root key where they are stored.
//!
//! Nothing here waits or asks the store: what is to be stored is answered as statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_storage::{ReadError, Row, Statement, WriteError};
use mainstay_types::Timestamp;
use zeroize::Zeroizing;

use crate::aead::{self, KeyBytes};
use crate::integrity::IntegrityKey;
use crate::record::{Imprint, Record};

/// Counts the data keys. The first is 1.
pub type KeyVersion = u32;

/// Where the integrity key stands among the data keys.
const INTEGRITY: KeyVersion = 0;

/// How many entries one data key seals before the next one takes over by itself.
///
/// Nonces are no reason: of XChaCha20-Poly1305's, 192 bits drawn at random, two meet after some 2^96 entries. The reason is
/// what one key that leaked would open, and the forgeries that an attacker may try against one key. 2^30 entries is a
/// quarter of what stores with nonces of 96 bits allow themselves, and at a thousand writes a second a new key every 12 days.
pub(crate) const OPERATIONS_PER_KEY: u64 = 1 << 30;

/// Why the keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("custody is sealed; unseal it first")]
    Sealed,
    #[error("data key {version} of the secret store is damaged; restore the store from a snapshot")]
    Damaged { version: i64 },
    #[error("the secret store holds secrets and lacks a key to them; restore the store from a snapshot")]
    Lost,
    #[error("the keys of the secret store were changed by another process at the same time; try again")]
    Contended,
    #[error("the seal of the secret store was changed by another process; seal this one and unseal it again")]
    SealChanged,
    #[error("the secret store is sealed with {stored}, whose key is not replaced this way; use {remedy}")]
    OtherSeal { stored: crate::seal::SealKind, remedy: &'static str },
    #[error("the seal does not wrap the root key")]
    Seal(#[source] crate::seal::SealFault),
    #[error("the keys of the secret store cannot be read")]
    Read(#[source] ReadError),
    #[error("the keys of the secret store cannot be changed")]
    Write(#[source] WriteError),
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// The newest data key, as an operator may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    pub version: KeyVersion,
    pub installed_at: Timestamp,
    /// How many entries it has sealed.
    pub operations: u64,
}

/// The keys, in memory for as long as the store is unsealed.
pub(crate) struct Keyring {
    root: KeyBytes,
    integrity: Arc<IntegrityKey>,
    data: BTreeMap<KeyVersion, DataKey>,
}

pub(crate) struct DataKey {
    key: KeyBytes,
    pub installed_at: Timestamp,
}

// === impl Keyring ===

impl Keyring {
    /// New keys for a new store, and the statements that store them.
    pub fn draw(now: Timestamp) -> Result<(Self, Vec<Statement>), getrandom::Error> {
        let integrity = Arc::new(IntegrityKey::new(aead::draw_key()?));
        let mut keyring = Self { root: aead::draw_key()?, integrity, data: BTreeMap::new() };
        let stored_integrity = insert(&keyring.root, INTEGRITY, keyring.integrity.bytes(), now)?;
        let (version, first, stored_first) = keyring.next(now)?;
        keyring.adopt(version, first);
        Ok((keyring, vec![stored_integrity, stored_first]))
    }

    /// Unwraps the stored keys, which are the rows of [`all_keys`].
    pub fn unwrap(root: KeyBytes, rows: &[Row]) -> Result<Self, KeyringError> {
        let mut data = BTreeMap::new();
        for row in rows {
            let (version, key) = unwrap(&root, row)?;
            data.insert(version, key);
        }
        let integrity = data.remove(&INTEGRITY).ok_or(KeyringError::Lost)?;
        if data.is_empty() {
            return Err(KeyringError::Lost);
        }
        Ok(Self { root, integrity: Arc::new(IntegrityKey::new(integrity.key)), data })
    }

    /// The root key, for the seal to wrap.
    pub fn root(&self) -> &KeyBytes {
        &self.root
    }

    pub fn integrity(&self) -> &Arc<IntegrityKey> {
        &self.integrity
    }

    pub fn newest(&self) -> (KeyVersion, &DataKey) {
        let (&version, key) = self.data.last_key_value().expect("a keyring has at least one data key");
        (version, key)
    }

    /// Seals the value of an entry with the newest key.
    pub fn seal(&self, path: &str, revision: u64, value: &[u8]) -> Result<Record, getrandom::Error> {
        let (key_version, key) = self.newest();
        let (mark, ciphertext) = aead::seal(&key.key, &Imprint::place(path, revision, key_version), value)?;
        Ok(Record { imprint: Imprint { revision, key_version, mark }, ciphertext })
    }

    /// Opens an entry.
    pub fn open(&self, path: &str, record: &Record) -> Opened {
        let Imprint { revision, key_version, mark } = &record.imprint;
        let Some(key) = self.data.get(key_version) else { return Opened::UnknownKey };
        let place = Imprint::place(path, *revision, *key_version);
        aead::open(&key.key, &place, mark, &record.ciphertext).map_or(Opened::Damaged, Opened::Value)
    }

    /// The data key after the newest, and the statement that stores it, which touches nothing where another process has
    /// stored one of that version.
    pub fn next(&self, now: Timestamp) -> Result<(KeyVersion, DataKey, Statement), getrandom::Error> {
        let version = self.data.last_key_value().map_or(INTEGRITY, |(&newest, _)| newest) + 1;
        let key = aead::draw_key()?;
        let statement = insert(&self.root, version, &key, now)?;
        Ok((version, DataKey { key, installed_at: now }, statement))
    }

    pub fn adopt(&mut self, version: KeyVersion, key: DataKey) {
        self.data.insert(version, key);
    }

    /// A new root key, and the statements that wrap all keys with it. They touch nothing where there is another key, which
    /// would be left behind under the old one.
    pub fn draw_root(&self) -> Result<(KeyBytes, Vec<Statement>), getrandom::Error> {
        let root = aead::draw_key()?;
        let data = self.data.iter().map(|(&version, data)| (version, &data.key));
        let mut statements = Vec::with_capacity(self.data.len() + 2);
        for (version, key) in data.chain([(INTEGRITY, self.integrity.bytes())]) {
            let update = "UPDATE data_keys SET sealed = $2 WHERE version = $1";
            statements.push(Statement::new(update, [version.into(), wrap(&root, version, key)?.into()]).expect(1));
        }
        let count = Statement::new("UPDATE data_keys SET version = version", []).expect(statements.len() as u64);
        statements.push(count);
        Ok((root, statements))
    }

    pub fn adopt_root(&mut self, root: KeyBytes) {
        self.root = root;
    }
}

/// What became of an entry that was to be opened.
pub(crate) enum Opened {
    Value(Zeroizing<Vec<u8>>),
    /// Another process may have made the key, so that the keys are to be read again.
    UnknownKey,
    /// The key, the place or the value is not the one.
    Damaged,
}

/// Reads all keys.
pub(crate) fn all_keys() -> Statement {
    Statement::new("SELECT version, installed_at, sealed FROM data_keys ORDER BY version", [])
}

fn unwrap(root: &KeyBytes, row: &Row) -> Result<(KeyVersion, DataKey), KeyringError> {
    let stored = row.integer(0).map_err(KeyringError::Read)?;
    let installed_at = Timestamp::from_micros(row.integer(1).map_err(KeyringError::Read)?);
    let sealed = row.blob(2).map_err(KeyringError::Read)?;
    let unwrapped = || {
        let version = KeyVersion::try_from(stored).ok()?;
        let opened = aead::open_whole(root, &place(version), sealed)?;
        Some((version, DataKey { key: KeyBytes::from_slice(&opened)?, installed_at }))
    };
    unwrapped().ok_or(KeyringError::Damaged { version: stored })
}

fn insert(root: &KeyBytes, version: KeyVersion, key: &KeyBytes, now: Timestamp) -> Result<Statement, getrandom::Error> {
    let add =
        "INSERT INTO data_keys (version, installed_at, sealed) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING";
    let sealed = wrap(root, version, key)?;
    Ok(Statement::new(add, [version.into(), now.as_micros().into(), sealed.into()]).expect(1))
}

fn wrap(root: &KeyBytes, version: KeyVersion, key: &KeyBytes) -> Result<Vec<u8>, getrandom::Error> {
    aead::seal_whole(root, &place(version), key.as_ref())
}

/// What binds a wrapped key to its version.
fn place(version: KeyVersion) -> Vec<u8> {
    [&b"mainstay custody data key\0"[..], &version.to_be_bytes()].concat()
}
