//! The barrier: everything above it is plain, everything below it is sealed.

use std::sync::Arc;

use mainstay_storage::{ReadError, Row, Statement, Store, Value, WriteError};
use zeroize::Zeroizing;

use crate::keyring::{KeyVersion, Keyring, KeyringError};

/// The largest value of an entry, in bytes: what Vault's integrated storage takes.
pub const LARGEST_VALUE: usize = 1 << 20;

/// Sealed entries by path. A clone is another handle to the same.
#[derive(Clone)]
pub struct Barrier {
    store: Store,
    keyring: Arc<Keyring>,
}

/// An entry as it was read.
#[derive(Clone)]
pub struct Entry {
    /// Rises with every change of the store, and never repeats: not even where an entry is removed and made again.
    pub revision: u64,
    pub value: Arc<Zeroizing<Vec<u8>>>,
}

/// What an entry must be like for a change to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    /// The entry is still the one that was read.
    Revision(u64),
}

/// One change of one entry.
pub struct Change {
    pub path: String,
    pub expect: Expect,
    /// The new value; none removes the entry.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// Why the barrier did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    #[error("custody is sealed; unseal it with `mainstay custody unseal`")]
    Sealed,
    #[error("entry {path} is damaged, or was not written to this place; restore custody from a snapshot")]
    Damaged { path: String },
    #[error("entry {path} has {length} bytes and may have {LARGEST_VALUE}")]
    TooLarge { path: String, length: usize },
    #[error("the keys for entry {path} cannot be had")]
    Keyring {
        path: String,
        #[source]
        source: KeyringError,
    },
    #[error("custody's storage cannot be read")]
    Read(#[source] ReadError),
    #[error("custody's storage cannot be written")]
    Write(#[source] WriteError),
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Why changes were not made; none of them was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Some entry was not as expected: read again and decide again.
    #[error("entry {path} was changed by another meanwhile")]
    Conflict { path: String },
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

// === impl Barrier ===

impl Barrier {
    pub(crate) fn new(store: Store, keyring: Arc<Keyring>) -> Self {
        Self { store, keyring }
    }

    /// The entry at a path.
    pub async fn get(&self, path: &str) -> Result<Option<Entry>, BarrierError> {
        let select = "SELECT version, key_version, sealed FROM records WHERE path = $1";
        let rows = self.store.read(Statement::new(select, [path.into()])).await.map_err(BarrierError::Read)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let damaged = || BarrierError::Damaged { path: path.to_owned() };
        let revision = row.integer(0).map_err(BarrierError::Read)?;
        let key_version = row.integer(1).map_err(BarrierError::Read)?;
        let key_version = KeyVersion::try_from(key_version).map_err(|_| damaged())?;
        let sealed = row.blob(2).map_err(BarrierError::Read)?;
        let opened = self.keyring.unseal(key_version, &place(path, revision, key_version), sealed).await;
        let value = opened
            .map_err(|source| BarrierError::Keyring { path: path.to_owned(), source })?
            .ok_or_else(damaged)?;
        Ok(Some(Entry { revision: revision as u64, value: Arc::new(value) }))
    }

    /// Makes changes, all of them or none, durable when this returns. Each path is changed once at most.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut statements = Vec::with_capacity(changes.len());
        for change in changes {
            let current = self.get(&change.path).await?.map(|entry| entry.revision);
            let as_expected = match change.expect {
                Expect::Anything => true,
                Expect::Absent => current.is_none(),
                Expect::Revision(revision) => current == Some(revision),
            };
            if !as_expected {
                return Err(CommitError::Conflict { path: change.path });
            }
            let Some(value) = change.value else {
                statements.push(Statement::new("DELETE FROM records WHERE path = $1", [change.path.into()]));
                continue;
            };
            let revision = current.unwrap_or(0) as i64 + 1;
            let (key_version, sealed) = self
                .keyring
                .seal(|key_version| place(&change.path, revision, key_version), &value)
                .map_err(BarrierError::Random)?;
            let sql = "INSERT INTO records (path, version, key_version, sealed) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (path) DO UPDATE SET version = $2, key_version = $3, sealed = $4";
            let parameters = [change.path.into(), Value::from(revision), key_version.into(), sealed.into()];
            statements.push(Statement::new(sql, parameters));
        }
        self.store.write(statements).await.map_err(|error| BarrierError::Write(error).into())
    }

    /// What is directly below a prefix that ends with `/` (or is empty): entries by their name, and folders, which
    /// end with `/`, in byte order, after one of them, at most `limit`.
    pub async fn children(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BarrierError> {
        let select = "SELECT path FROM records WHERE path >= $1 AND path < $2 ORDER BY path";
        let end = format!("{prefix}\u{10ffff}");
        let rows = self.store.read(Statement::new(select, [prefix.into(), end.into()])).await;
        let mut children: Vec<String> = Vec::new();
        for row in rows.map_err(BarrierError::Read)? {
            let below = &row.text(0).map_err(BarrierError::Read)?[prefix.len()..];
            let child = below.find('/').map_or(below, |slash| &below[..=slash]);
            if children.last().is_none_or(|last| last != child) && after.is_none_or(|after| child > after) {
                children.push(child.to_owned());
            }
        }
        children.truncate(limit);
        Ok(children)
    }

    /// The paths of all entries below a prefix, in byte order, after one of them, at most `limit`.
    pub async fn paths(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BarrierError> {
        let select = "SELECT path FROM records WHERE path >= $1 AND path < $2 AND path > $3 ORDER BY path";
        let end = format!("{prefix}\u{10ffff}");
        let statement = Statement::new(select, [prefix.into(), end.into(), after.unwrap_or("").into()]);
        let rows: Vec<Row> = self.store.read(statement).await.map_err(BarrierError::Read)?;
        rows.iter()
            .take(limit)
            .map(|row| row.text(0).map(str::to_owned))
            .collect::<Result<_, _>>()
            .map_err(BarrierError::Read)
    }
}

/// What binds an entry to its path, its revision and the version of its key.
fn place(path: &str, revision: i64, key_version: KeyVersion) -> Vec<u8> {
    let purpose = &b"mainstay custody entry\0"[..];
    [purpose, &key_version.to_be_bytes(), &revision.to_be_bytes(), path.as_bytes()].concat()
}
