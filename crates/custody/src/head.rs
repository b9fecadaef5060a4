//! The head: what all entries together must come to.

use mainstay_storage::{ReadError, Row, Statement, Store};

use crate::aead;
use crate::integrity::{IntegrityKey, Sum};
use crate::keyring::KeyVersion;
use crate::record::{Imprint, stored};

/// Entries that are read at once while they are added up: some 200 KiB.
const PAGE: u32 = 2000;

/// The state of the store in a few numbers, which is replaced with every change, in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The newest revision. Every change of an entry, its removal too, makes one.
    pub counter: u64,
    pub entries: u64,
    pub sum: Sum,
    /// The data key that the newest entries were sealed with, and how often it has sealed one.
    pub key_version: KeyVersion,
    pub operations: u64,
}

/// Signs that the database was changed by something else than custody.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    #[error(
        "the head of the secret store is missing, damaged, or was put back to an older state; \
         restore the store from a snapshot"
    )]
    Head,
    #[error(
        "the secret store holds {found} entries and should hold {expected}: entries were removed or brought in behind \
         custody's back; restore the store from a snapshot"
    )]
    Count { found: u64, expected: u64 },
    #[error(
        "an entry of the secret store was altered, swapped or put back to an older state behind custody's back \
         (the store is at position {position}); restore the store from a snapshot"
    )]
    Sum { position: u64 },
    #[error("the secret store cannot be read")]
    Read(#[source] ReadError),
}

/// The form of the head's bytes: five numbers and the sum.
const LENGTH: usize = 8 + 8 + 32 + 4 + 8;

// === impl Head ===

impl Head {
    /// The head of an empty store.
    pub const EMPTY: Head = Head { counter: 0, entries: 0, sum: Sum::ZERO, key_version: 1, operations: 0 };

    /// Reads the head.
    pub async fn load(store: &Store, key: &IntegrityKey) -> Result<Self, IntegrityError> {
        let rows = store.read(select()).await.map_err(IntegrityError::Read)?;
        rows.first().and_then(|row| Self::open(row, key)).ok_or(IntegrityError::Head)
    }

    /// The statement that stores the first head.
    pub fn insert(&self, key: &IntegrityKey) -> Result<Statement, getrandom::Error> {
        let sql = "INSERT INTO head (id, counter, sealed) VALUES (1, $1, $2)";
        Ok(Statement::new(sql, [stored(self.counter), self.seal(key)?.into()]).expect(1))
    }

    /// The statement that puts this head in the place of the one before; touches nothing where that is not the newest.
    pub fn replace(&self, before: &Head, key: &IntegrityKey) -> Result<Statement, getrandom::Error> {
        let sql = "UPDATE head SET counter = $1, sealed = $2 WHERE id = 1 AND counter = $3";
        let parameters = [stored(self.counter), self.seal(key)?.into(), stored(before.counter)];
        Ok(Statement::new(sql, parameters).expect(1))
    }

    /// Adds all entries up, a page at a time, and compares.
    pub async fn verify(&self, store: &Store, key: &IntegrityKey) -> Result<(), IntegrityError> {
        let (mut entries, mut sum, mut after) = (0, Sum::ZERO, 0);
        loop {
            let page = store.read(page(after)).await.map_err(IntegrityError::Read)?;
            for row in &page {
                let imprint = Imprint::from_row(row, [0, 2, 3]).map_err(IntegrityError::Read)?;
                sum = sum.plus(key.term(row.text(1).map_err(IntegrityError::Read)?, &imprint));
                entries += 1;
                after = imprint.revision;
            }
            if page.len() < PAGE as usize {
                break;
            }
        }
        if entries != self.entries {
            return Err(IntegrityError::Count { found: entries, expected: self.entries });
        }
        if sum != self.sum || after > self.counter {
            return Err(IntegrityError::Sum { position: self.counter });
        }
        Ok(())
    }

    fn seal(&self, key: &IntegrityKey) -> Result<Vec<u8>, getrandom::Error> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(self.counter.to_le_bytes());
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend(self.sum.to_bytes());
        bytes.extend(self.key_version.to_le_bytes());
        bytes.extend(self.operations.to_le_bytes());
        aead::seal_whole(key.head(), PLACE, &bytes)
    }

    fn open(row: &Row, key: &IntegrityKey) -> Option<Self> {
        let counter = u64::try_from(row.integer(0).ok()?).ok()?;
        let bytes = aead::open_whole(key.head(), PLACE, row.blob(1).ok()?)?;
        let mut rest: &[u8] = &bytes;
        let head = Self {
            counter: u64::from_le_bytes(take(&mut rest)?),
            entries: u64::from_le_bytes(take(&mut rest)?),
            sum: Sum::from_bytes(&take(&mut rest)?),
            key_version: KeyVersion::from_le_bytes(take(&mut rest)?),
            operations: u64::from_le_bytes(take(&mut rest)?),
        };
        (rest.is_empty() && head.counter == counter).then_some(head)
    }
}

/// What binds the sealed head to its table. Its counter is inside.
const PLACE: &[u8] = b"mainstay custody head\0";

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn select() -> Statement {
    Statement::new("SELECT counter, sealed FROM head WHERE id = 1", [])
}

fn page(after: u64) -> Statement {
    let sql = "SELECT revision, path, key_version, mark FROM entries WHERE revision > $1 ORDER BY revision LIMIT $2";
    Statement::new(sql, [stored(after), PAGE.into()])
}
