//! Putting a snapshot in the place of a store.
//!
//! Its entries are staged beside those of the store until all of them are there and the digest is right; then both tables
//! change names in one transaction, with keys, seal and head. Until then nothing of the store is touched.

use std::io;

use mainstay_storage::{ReadError, Statement, WriteError};
use tokio::io::AsyncRead;

use super::format::{Frame, Input, Unreadable};
use crate::aead::MARK_LENGTH;
use crate::barrier::check_path;
use crate::custody::Custody;
use crate::inner::Inner;
use crate::record::{Imprint, Record, stored};

/// How much is staged with one transaction: rows, and about as many bytes.
const ROWS_AT_ONCE: usize = 1000;
const BYTES_AT_ONCE: usize = 4 << 20;

/// Rows that are cleared away with one transaction.
const CLEARED_AT_ONCE: i64 = 10_000;

/// Which store a snapshot may be restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One that was never initialised.
    Empty,
    /// Whatever is there; it is lost.
    Anything,
}

/// Why a snapshot was not restored. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the secret store is not empty; restore to an empty one, or force the snapshot into its place")]
    NotEmpty,
    #[error("another snapshot is being restored; wait for it")]
    UnderWay,
    #[error("what was given is no snapshot of the secret store: {reason}")]
    NoSnapshot { reason: String },
    #[error("the snapshot is damaged or not whole: {reason}; use another one")]
    Damaged { reason: String },
    #[error("the snapshot cannot be read")]
    Input(#[source] io::Error),
    #[error("the secret store cannot be read")]
    Read(#[source] ReadError),
    #[error("the secret store cannot be written")]
    Write(#[source] WriteError),
}

impl Custody {
    /// Restores a snapshot. The store is sealed then, and opens with the seal that the snapshot was taken under.
    pub async fn restore<R: AsyncRead + Unpin>(&self, reader: &mut R, target: Target) -> Result<(), RestoreError> {
        let inner = self.inner();
        let _restoring = inner.restoring.try_lock().map_err(|_| RestoreError::UnderWay)?;
        if target == Target::Empty && !is_empty(inner).await? {
            return Err(RestoreError::NotEmpty);
        }
        clear(inner).await?;
        let staged = stage(inner, reader).await;
        let rest = match staged {
            Ok(rest) => rest,
            Err(error) => {
                clear(inner).await?;
                return Err(error);
            }
        };
        let mut statements = vec![
            Statement::new("ALTER TABLE entries RENAME TO leaving", []),
            Statement::new("ALTER TABLE staged RENAME TO entries", []),
            Statement::new("ALTER TABLE leaving RENAME TO staged", []),
            Statement::new("DELETE FROM data_keys", []),
            Statement::new("DELETE FROM seal", []),
            Statement::new("DELETE FROM head", []),
        ];
        statements.extend(rest);
        self.operators().forget_attempts();
        inner.replace(statements).await.map_err(RestoreError::Write)?;
        clear(inner).await
    }
}

/// Stages all entries, and gives the statements for what is not an entry.
async fn stage<R: AsyncRead + Unpin>(inner: &Inner, reader: &mut R) -> Result<Vec<Statement>, RestoreError> {
    let mut input = Input::begin(reader).await?;
    let (mut rest, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut keys, mut seals, mut heads) = (0, 0, 0);
    while let Some(frame) = input.frame().await? {
        match frame {
            Frame::Entry { revision, path, key_version, mark, ciphertext } => {
                bytes += path.len() + ciphertext.len();
                let mark = <[u8; MARK_LENGTH]>::try_from(mark).map_err(|_| damaged("a mark has a wrong length"))?;
                let record = Record { imprint: Imprint { revision, key_version, mark }, ciphertext };
                rows.push(put(&path, &record)?);
            }
            Frame::Removed { path, revision } => {
                let remove = "DELETE FROM staged WHERE path = $1 AND revision < $2";
                check_path(&path).map_err(|error| damaged(error.to_string()))?;
                rows.push(Statement::new(remove, [path.into(), counted(revision)?]));
            }
            Frame::DataKey { version, installed_at, sealed } => {
                keys += 1;
                let insert = "INSERT INTO data_keys (version, installed_at, sealed) VALUES ($1, $2, $3)";
                rest.push(Statement::new(insert, [version.into(), installed_at.into(), sealed.into()]));
            }
            Frame::Seal { kind, shares, threshold, key_id, root_key } => {
                seals += 1;
                let insert = "INSERT INTO seal (id, kind, shares, threshold, key_id, root_key) \
                              VALUES (1, $1, $2, $3, $4, $5)";
                let (shares, threshold) = (i64::from(shares), i64::from(threshold));
                let parameters = [kind.into(), shares.into(), threshold.into(), key_id.into(), root_key.into()];
                rest.push(Statement::new(insert, parameters));
            }
            Frame::Head { counter, sealed } => {
                heads += 1;
                let insert = "INSERT INTO head (id, counter, sealed) VALUES (1, $1, $2)";
                rest.push(Statement::new(insert, [counted(counter)?, sealed.into()]));
            }
            Frame::End { .. } => return Err(damaged("it goes on after its end")),
        }
        if rows.len() >= ROWS_AT_ONCE || bytes >= BYTES_AT_ONCE {
            inner.store.write(std::mem::take(&mut rows)).await.map_err(RestoreError::Write)?;
            bytes = 0;
        }
    }
    if (seals, heads) != (1, 1) || keys < 2 {
        return Err(damaged("it lacks its seal, its head or its keys"));
    }
    inner.store.write(rows).await.map_err(RestoreError::Write)?;
    Ok(rest)
}

fn put(path: &str, record: &Record) -> Result<Statement, RestoreError> {
    check_path(path).map_err(|error| damaged(error.to_string()))?;
    counted(record.imprint.revision)?;
    let upsert = "INSERT INTO staged (revision, path, key_version, mark, ciphertext) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (path) DO UPDATE SET revision = $1, key_version = $3, mark = $4, ciphertext = $5";
    Ok(Statement::new(upsert, record.values(path)))
}

/// A number from outside, as the databases keep it.
fn counted(revision: u64) -> Result<mainstay_storage::Value, RestoreError> {
    match i64::try_from(revision) {
        Ok(_) => Ok(stored(revision)),
        Err(_) => Err(damaged("a revision is out of its range")),
    }
}

async fn is_empty(inner: &Inner) -> Result<bool, RestoreError> {
    let something = "SELECT 1 FROM seal UNION ALL SELECT 1 FROM entries LIMIT 1";
    Ok(inner.store.read(Statement::new(something, [])).await.map_err(RestoreError::Read)?.is_empty())
}

/// Removes what is staged, a part at a time.
async fn clear(inner: &Inner) -> Result<(), RestoreError> {
    loop {
        let first = "SELECT max(revision) FROM (SELECT revision FROM staged ORDER BY revision LIMIT $1) AS first";
        let rows =
            inner.store.read(Statement::new(first, [CLEARED_AT_ONCE.into()])).await.map_err(RestoreError::Read)?;
        let Some(row) = rows.first().filter(|row| !row.is_null(0)) else { return Ok(()) };
        let last = row.integer(0).map_err(RestoreError::Read)?;
        let delete = Statement::new("DELETE FROM staged WHERE revision <= $1", [last.into()]);
        inner.store.write(vec![delete]).await.map_err(RestoreError::Write)?;
    }
}

fn damaged(reason: impl Into<String>) -> RestoreError {
    RestoreError::Damaged { reason: reason.into() }
}

impl From<Unreadable> for RestoreError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Title | Unreadable::Version { .. } => Self::NoSnapshot { reason: unreadable.to_string() },
            Unreadable::Damaged | Unreadable::Short => Self::Damaged { reason: unreadable.to_string() },
            Unreadable::Io(error) => Self::Input(error),
        }
    }
}
