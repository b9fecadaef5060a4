//! The part of the barrier that belongs to one mount.

use mainstay_custody::{Barrier, BarrierError, Change, CommitError, Expect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// How many keys one call of [`Storage::list`] gives at most.
const LIST_LIMIT: usize = 1_000_000;

/// Entries below one prefix, as JSON. A clone is another handle to the same.
#[derive(Clone)]
pub struct Storage {
    barrier: Barrier,
    /// Ends with a slash.
    prefix: String,
}

/// An entry and its revision.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    pub revision: u64,
    pub value: T,
}

/// Changes that are made together.
#[derive(Default)]
pub struct Batch {
    /// With keys in the place of paths.
    changes: Vec<Change>,
}

// === impl Storage ===

impl Storage {
    /// The entries below a prefix, which ends with a slash.
    pub fn new(barrier: Barrier, prefix: impl Into<String>) -> Self {
        Self { barrier, prefix: prefix.into() }
    }

    /// The entries below a folder of this storage, which ends with a slash.
    pub fn below(&self, folder: &str) -> Self {
        Self { barrier: self.barrier.clone(), prefix: format!("{}{folder}", self.prefix) }
    }

    /// The entry of a key.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Stored<T>>, BarrierError> {
        let path = self.path(key);
        let Some(entry) = self.barrier.get(&path).await? else { return Ok(None) };
        // What serde says of an error could repeat a part of the value.
        let value = serde_json::from_slice(&entry.value).map_err(|_| BarrierError::Damaged { path })?;
        Ok(Some(Stored { revision: entry.revision, value }))
    }

    /// The value of a key, where its revision does not matter.
    pub async fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BarrierError> {
        Ok(self.get(key).await?.map(|stored| stored.value))
    }

    /// Puts an entry in the place of whatever was there.
    pub async fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<(), CommitError> {
        let mut batch = Batch::default();
        batch.put(key, Expect::Anything, value);
        self.commit(batch).await
    }

    /// Removes an entry. That there is none is no error.
    pub async fn delete(&self, key: &str) -> Result<(), CommitError> {
        let mut batch = Batch::default();
        batch.delete(key, Expect::Anything);
        self.commit(batch).await
    }

    /// Makes changes, all of them or none, durable when this returns.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let changes = batch.changes.into_iter().map(|change| Change { path: self.path(&change.path), ..change });
        self.barrier.commit(changes.collect()).await
    }

    /// The names directly below a folder, which ends with a slash or is empty, in byte order; folders end with a slash.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, BarrierError> {
        self.barrier.children(&self.path(folder), None, LIST_LIMIT).await
    }

    /// The keys of all entries below a folder, which ends with a slash or is empty, after one of them, at most `limit`.
    pub async fn keys(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BarrierError> {
        let after = after.map(|key| self.path(key));
        let paths = self.barrier.paths(&self.path(folder), after.as_deref(), limit).await?;
        Ok(paths.into_iter().map(|path| path[self.prefix.len()..].to_owned()).collect())
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

// === impl Batch ===

impl Batch {
    /// Puts an entry, if what is there is as expected. A key may be changed once in a batch.
    pub fn put<T: Serialize>(&mut self, key: &str, expect: Expect, value: &T) -> &mut Self {
        let value = serde_json::to_vec(value).expect("what backends keep has string keys and no failing serializer");
        self.changes.push(Change { path: key.to_owned(), expect, value: Some(Zeroizing::new(value)) });
        self
    }

    /// Removes an entry, if what is there is as expected.
    pub fn delete(&mut self, key: &str, expect: Expect) -> &mut Self {
        self.changes.push(Change { path: key.to_owned(), expect, value: None });
        self
    }
}

#[cfg(feature = "scratch")]
impl Storage {
    /// An empty storage in memory, for tests.
    pub async fn scratch() -> Self {
        let master = mainstay_custody::MasterKey::from_bytes([7; 32]);
        let location = mainstay_storage::Location::InMemory;
        let custody = mainstay_custody::Custody::open(&location, master).await;
        let custody = custody.unwrap_or_else(|error| panic!("custody in memory opens: {error}"));
        Self::new(custody.barrier(), "scratch/")
    }
}
