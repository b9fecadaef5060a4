//! An entry as it is stored.

use mainstay_storage::{ReadError, Row, Value};

use crate::aead::Mark;
use crate::keyring::KeyVersion;

/// The columns of an entry, in the order of [`Record::from_row`] and [`Record::values`].
pub(crate) const COLUMNS: &[&str] = &["revision", "path", "key_version", "mark", "ciphertext"];

/// What tells one state of an entry from every other, without the ciphertext.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Imprint {
    pub revision: u64,
    pub key_version: KeyVersion,
    pub mark: Mark,
}

/// A sealed entry.
pub(crate) struct Record {
    pub imprint: Imprint,
    pub ciphertext: Vec<u8>,
}

/// A row that no custody wrote.
#[derive(Debug, thiserror::Error)]
#[error("a number or a mark of an entry is out of its range")]
struct Malformed;

// === impl Imprint ===

impl Imprint {
    /// Reads the columns `revision`, `key_version` and `mark`, which stand at the given places.
    pub fn from_row(row: &Row, [revision, key_version, mark]: [usize; 3]) -> Result<Self, ReadError> {
        Ok(Self {
            revision: u64::try_from(row.integer(revision)?).map_err(|_| malformed())?,
            key_version: KeyVersion::try_from(row.integer(key_version)?).map_err(|_| malformed())?,
            mark: row.blob(mark)?.try_into().map_err(|_| malformed())?,
        })
    }

    /// What binds the sealed value to its path, its revision and the version of its key. The path comes last: what
    /// stands before it has a fixed length, so that no two places are written alike.
    pub fn place(path: &str, revision: u64, key_version: KeyVersion) -> Vec<u8> {
        let purpose = &b"mainstay custody entry\0"[..];
        [purpose, &key_version.to_be_bytes(), &revision.to_be_bytes(), path.as_bytes()].concat()
    }
}

// === impl Record ===

impl Record {
    /// Reads a row of all [`COLUMNS`].
    pub fn from_row(row: Row) -> Result<(String, Self), ReadError> {
        let imprint = Imprint::from_row(&row, [0, 2, 3])?;
        let [_, Value::Text(path), _, _, Value::Blob(ciphertext)]: [Value; 5] =
            row.into_values().try_into().map_err(|_| malformed())?
        else {
            return Err(malformed());
        };
        Ok((path, Self { imprint, ciphertext }))
    }

    /// The values of all [`COLUMNS`].
    pub fn values(&self, path: &str) -> [Value; 5] {
        let Imprint { revision, key_version, mark } = &self.imprint;
        [stored(*revision), path.into(), (*key_version).into(), mark[..].into(), self.ciphertext.as_slice().into()]
    }
}

/// A revision as the databases keep it.
pub(crate) fn stored(revision: u64) -> Value {
    Value::Integer(i64::try_from(revision).expect("2^63 changes take longer than anything lives"))
}

fn malformed() -> ReadError {
    ReadError::Other { source: Box::new(Malformed) }
}
