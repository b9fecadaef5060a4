//! The index on disk.
//!
//! redb keeps it: a B-tree whose commits are whole or not at all, which opens in milliseconds whatever its size and
//! however it was left. It holds nothing that the log does not say, so that whatever is wrong with it has one remedy: it
//! is made anew.

use std::fs::{File, OpenOptions};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crc_fast::CrcAlgorithm;
use mainstay_dataplane::{Address, Trouble};
use mainstay_types::Digest;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::memory::{Checkpoint, Frozen};
use crate::entry::Entry;

/// Address -> entry, with a check behind it.
const ENTRIES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("entries");

/// The version of what is stored, and the checkpoint.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The version of keys and values. What another version wrote is made anew from the log.
const VERSION: &[u8] = &[1];

/// Memory for pages of the base. Those of a million contents take 100 MiB, which the system caches as well.
const CACHE_LEN: usize = 12 << 20;

const CHECK_LEN: usize = 8;

/// The base, open.
pub(crate) struct Base {
    path: PathBuf,
    /// None when it is closed, and while it could not be opened again after the disk had failed.
    database: RwLock<Option<Database>>,
    closed: AtomicBool,
    /// Whether the file beside it says that it must not be gone by.
    distrusted: AtomicBool,
    /// Whether it was found to be damaged: it is made anew at the next start.
    condemned: AtomicBool,
}

/// Why the base did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseError {
    #[error("the index cannot be read or written")]
    Io(#[source] std::io::Error),
    #[error("the index is damaged: {0}")]
    Damaged(String),
}

impl Base {
    /// Opens the base of a path, with the checkpoint that it holds. Without a path, or without a checkpoint, there is
    /// none to go by.
    pub(crate) fn open(path: &Path) -> Result<(Self, Checkpoint), BaseError> {
        if path_of_distrust(path).exists() {
            return Err(BaseError::Damaged("it was left behind when the disk was full".into()));
        }
        let database = guarded(|| Ok(Database::builder().set_cache_size(CACHE_LEN).open(path)?))?;
        let checkpoint = guarded(|| read_checkpoint(&database))?;
        Ok((Self::with(path, database), checkpoint))
    }

    /// Makes an empty base in the place of whatever is there.
    pub(crate) fn create(path: &Path) -> Result<Self, BaseError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(BaseError::Io(error)),
            _ => {}
        }
        let database = guarded(|| {
            // For its owner alone, as everything here.
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            let database = Database::builder().set_cache_size(CACHE_LEN).create_file(file)?;
            let transaction = database.begin_write()?;
            transaction.open_table(ENTRIES)?;
            transaction.open_table(META)?.insert("version", VERSION)?;
            transaction.commit()?;
            Ok(database)
        })?;
        Ok(Self::with(path, database))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file go. Whoever still asks is told so.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(crate) fn get(&self, address: &Address) -> Result<Option<Entry>, BaseError> {
        self.with_database(|database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let found = table.get(address.digest().as_bytes())?;
            Ok(found.map(|value| decode(address, value.value())).transpose()?)
        })
    }

    /// The first entries after an address.
    pub(crate) fn range(&self, after: Option<Address>, limit: usize) -> Result<Vec<(Address, Entry)>, BaseError> {
        self.with_database(|database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let after = after.as_ref().map(|address| address.digest().as_bytes());
            let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = table.range::<&[u8; 32]>((lower, Bound::Unbounded))?.take(limit);
            rows.map(|row| {
                let (key, value) = row?;
                let address = Address::from_digest(Digest::from_bytes(*key.value()));
                Ok((address, decode(&address, value.value())?))
            })
            .collect()
        })
    }

    /// Writes changes and the checkpoint that they lead to, durably and at once.
    pub(crate) fn commit(&self, frozen: &Frozen) -> Result<(), BaseError> {
        self.with_database(|database| {
            let mut transaction = database.begin_write()?;
            // The base can be opened after a crash without reading all of it.
            transaction.set_quick_repair(true);
            {
                let mut table = transaction.open_table(ENTRIES)?;
                let mut value = Vec::new();
                for (address, entry) in &frozen.changes {
                    let key = address.digest().as_bytes();
                    let Some(entry) = entry else {
                        table.remove(key)?;
                        continue;
                    };
                    encode(address, entry, &mut value);
                    table.insert(key, value.as_slice())?;
                }
                let checkpoint = sealed(b"checkpoint", &frozen.checkpoint);
                transaction.open_table(META)?.insert("checkpoint", checkpoint.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Says durably that the base is not to be gone by until it has everything: the log may drop what the base lacks.
    pub(crate) fn distrust(&self) -> Result<(), BaseError> {
        let path = path_of_distrust(&self.path);
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let said = made.and_then(|_| sync_parent(&path));
        said.map_err(BaseError::Io)?;
        self.distrusted.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Takes that back: the base has everything.
    pub(crate) fn trust(&self) -> Result<(), BaseError> {
        if !self.distrusted.load(Ordering::SeqCst) {
            return Ok(());
        }
        let path = path_of_distrust(&self.path);
        std::fs::remove_file(&path).and_then(|()| sync_parent(&path)).map_err(BaseError::Io)?;
        self.distrusted.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn with(path: &Path, database: Database) -> Self {
        let database = RwLock::new(Some(database));
        let [closed, distrusted, condemned] = [false, path_of_distrust(path).exists(), false].map(AtomicBool::new);
        Self { path: path.to_owned(), database, closed, distrusted, condemned }
    }

    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, BaseError> {
        let done = match self.database.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(database) => guarded(|| work(database)),
            None => Err(BaseError::Io(std::io::Error::other("it is closed"))),
        };
        match &done {
            Ok(_) => {}
            Err(BaseError::Io(_)) => self.reopen(),
            Err(BaseError::Damaged(reason)) => self.condemn(reason),
        }
        done
    }

    /// A database whose disk has failed once says so until it is opened anew; then it is as its last commit left it.
    fn reopen(&self) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        *database = guarded(|| Ok(Database::builder().set_cache_size(CACHE_LEN).open(&self.path)?)).ok();
    }

    /// Takes away the file, which stays in use as long as the store is open: the next start finds none and makes it anew.
    fn condemn(&self, reason: &str) {
        if !self.condemned.swap(true, Ordering::SeqCst) {
            tracing::error!(
                index = %self.path.display(), reason,
                "the index of the content store is damaged; no content is, and a restart makes the index anew"
            );
            if let Err(error) = std::fs::remove_file(&self.path) {
                tracing::error!(index = %self.path.display(), %error, "cannot remove the damaged index: remove it by hand");
            }
        }
    }
}

/// The file that says that a base is not to be gone by.
fn path_of_distrust(path: &Path) -> PathBuf {
    path.with_extension("behind")
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().expect("a base lies in a directory");
    Ok(rustix::fs::fsync(File::open(directory)?)?)
}

/// The errors of redb, of which there are many.
enum Failure {
    Redb(redb::Error),
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// What a value that is not what was stored comes to.
struct Unreadable;

impl From<Unreadable> for Failure {
    fn from(_: Unreadable) -> Self {
        Self::Damaged("a value is not what was stored".into())
    }
}

/// Works with redb, which panics where pages are not what it wrote.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, BaseError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failure::Damaged(reason))) => Err(BaseError::Damaged(reason)),
        Ok(Err(Failure::Redb(error))) => Err(match error {
            // Not what redb writes, rather than what the disk does not give.
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                BaseError::Damaged(error.to_string())
            }
            redb::Error::Io(error) => BaseError::Io(error),
            redb::Error::DatabaseAlreadyOpen => BaseError::Io(std::io::Error::other("another process uses it")),
            redb::Error::PreviousIo => BaseError::Io(std::io::Error::other("the disk has failed before")),
            other => BaseError::Damaged(other.to_string()),
        }),
        Err(_) => Err(BaseError::Damaged("its pages do not fit together".into())),
    }
}

fn read_checkpoint(database: &Database) -> Result<Checkpoint, Failure> {
    let meta = database.begin_read()?.open_table(META)?;
    if meta.get("version")?.is_none_or(|version| version.value() != VERSION) {
        return Err(Failure::Damaged("it is of another version".into()));
    }
    let checkpoint = meta.get("checkpoint")?.ok_or(Failure::Damaged("it was never finished".into()))?;
    Ok(unsealed(b"checkpoint", checkpoint.value())?)
}

fn encode(address: &Address, entry: &Entry, value: &mut Vec<u8>) {
    *value = sealed(address.digest().as_bytes(), entry);
}

fn decode(address: &Address, value: &[u8]) -> Result<Entry, Unreadable> {
    unsealed(address.digest().as_bytes(), value)
}

/// CBOR and a check over it and its key: redb checks its pages only when it repairs them.
fn sealed(key: &[u8], value: &impl minicbor::Encode<()>) -> Vec<u8> {
    let mut sealed = Vec::new();
    minicbor::encode(value, &mut sealed).expect("a vector takes all that is written");
    let check = check_of(key, &sealed);
    sealed.extend_from_slice(&check);
    sealed
}

fn unsealed<'b, T: minicbor::Decode<'b, ()>>(key: &[u8], value: &'b [u8]) -> Result<T, Unreadable> {
    let (encoded, check) = value.split_last_chunk::<CHECK_LEN>().ok_or(Unreadable)?;
    if *check != check_of(key, encoded) {
        return Err(Unreadable);
    }
    minicbor::decode(encoded).map_err(|_| Unreadable)
}

fn check_of(key: &[u8], value: &[u8]) -> [u8; CHECK_LEN] {
    let mut crc = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}

impl From<BaseError> for Trouble {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Io(error) => crate::error::trouble("use the index of the content store", &error),
            BaseError::Damaged(reason) => Trouble::unavailable(format!(
                "the index of the content store is damaged ({reason}): restart Mainstay, which makes it anew"
            )),
        }
    }
}
