//! The keys of one mount: read, changed, and kept in memory ready to be used.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Batch, Refusal, Storage};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use crate::entry::{Archive, Entry, FORMAT};
use crate::key::Key;
use crate::key_type::Family;

/// How many keys are kept in memory where the operator does not say. A symmetric key with a few versions takes a few
/// kilobytes, so this is some tens of megabytes.
pub const DEFAULT_CACHED_KEYS: usize = 10_000;

/// How many locks the names share. More than the requests that run at the same time, so that two seldom meet.
const LOCKS: usize = 256;

/// How often a change is tried when another process changes the same key at the same time.
const MOST_TRIES: usize = 5;

/// The keys of one mount. A clone is another handle to the same.
#[derive(Clone)]
pub struct Keyring {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Storage,
    cache: Cache<String, Arc<Key>>,
    /// Whoever reads a key into the cache, or changes it, holds the lock of its name: otherwise a slow reader could
    /// put back what a change has just replaced.
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

/// All that is stored of a key.
pub struct Document {
    pub entry: Entry,
    pub archive: Archive,
}

/// Whether a key was changed and has to be written.
pub enum Outcome<T> {
    Changed(T),
    Same(T),
}

impl Keyring {
    pub fn new(storage: Storage, cached_keys: usize) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::new(())).collect();
        let cache = Cache::new(capacity(cached_keys));
        Self { shared: Arc::new(Shared { storage, cache, locks, hasher: RandomState::new() }) }
    }

    /// Keeps at most so many keys in memory from now on; 0 is the default.
    pub fn resize(&self, cached_keys: usize) {
        self.shared.cache.set_capacity(capacity(cached_keys) as u64);
    }

    /// The key with a name.
    pub async fn get(&self, name: &str) -> Result<Option<Arc<Key>>, Refusal> {
        if let Some(key) = self.shared.cache.get(name) {
            return Ok(Some(key));
        }
        let _guard = self.lock(name).lock().await;
        if let Some(key) = self.shared.cache.get(name) {
            return Ok(Some(key));
        }
        let Some((_, entry)) = self.entry(name).await? else { return Ok(None) };
        let key = Arc::new(open(name, entry).await?);
        self.shared.cache.insert(name.to_owned(), Arc::clone(&key));
        Ok(Some(key))
    }

    /// What is stored of a key, raw keys included, for the few who need them.
    pub async fn stored(&self, name: &str) -> Result<Option<Entry>, Refusal> {
        Ok(self.entry(name).await?.map(|(_, entry)| entry))
    }

    /// The names of all keys.
    pub async fn names(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.shared.storage.list("policy/").await?)
    }

    /// Changes a key, makes it or removes it, and answers it as it is afterwards.
    ///
    /// `decide` may be called again where another process was faster. A caller who goes away does not stop a change
    /// that has begun: otherwise the cache would not know whether it was made.
    pub async fn change<T, F>(&self, name: &str, decide: F) -> Result<(Option<Arc<Key>>, T), Refusal>
    where
        T: Send + 'static,
        F: FnMut(&mut Option<Document>) -> Result<Outcome<T>, Refusal> + Send + 'static,
    {
        let (keyring, name) = (self.clone(), name.to_owned());
        let task = tokio::spawn(async move { keyring.change_now(&name, decide).await });
        task.await.map_err(|error| Refusal::failed("the change of a transit key was interrupted", error))?
    }

    async fn change_now<T, F>(&self, name: &str, mut decide: F) -> Result<(Option<Arc<Key>>, T), Refusal>
    where
        F: FnMut(&mut Option<Document>) -> Result<Outcome<T>, Refusal>,
    {
        let _guard = self.lock(name).lock().await;
        let mut tries = 1;
        loop {
            let (mut document, expect, archived) = self.document(name).await?;
            let outcome = match decide(&mut document)? {
                Outcome::Same(outcome) => {
                    let key = match document {
                        Some(document) => Some(Arc::new(open(name, document.entry).await?)),
                        None => None,
                    };
                    return Ok((key, outcome));
                }
                Outcome::Changed(outcome) => outcome,
            };
            // Opened before it is written: what cannot be used must not replace what can.
            let (batch, key) = match document {
                Some(mut document) => {
                    document.entry.arrange(&mut document.archive);
                    let batch = write(name, expect, archived, &document);
                    (batch, Some(Arc::new(open(name, document.entry).await?)))
                }
                None => (remove(name, expect), None),
            };
            self.shared.cache.remove(name);
            match self.shared.storage.commit(batch).await {
                Ok(()) => {
                    if let Some(key) = &key {
                        self.shared.cache.insert(name.to_owned(), Arc::clone(key));
                    }
                    return Ok((key, outcome));
                }
                Err(CommitError::Conflict { .. }) if tries < MOST_TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// All that is stored of a key, what has to be there still when it is written, and whether there is an archive.
    async fn document(&self, name: &str) -> Result<(Option<Document>, Expect, bool), Refusal> {
        let Some((revision, entry)) = self.entry(name).await? else { return Ok((None, Expect::Absent, false)) };
        let archive: Option<Archive> = self.shared.storage.value(&archive_of(name)).await?;
        let archived = archive.is_some();
        let archive = archive.unwrap_or_else(Archive::new);
        Ok((Some(Document { entry, archive }), Expect::Revision(revision), archived))
    }

    async fn entry(&self, name: &str) -> Result<Option<(u64, Entry)>, Refusal> {
        let Some(stored) = self.shared.storage.get::<Entry>(&policy_of(name)).await? else { return Ok(None) };
        if stored.value.format > FORMAT {
            let what = format!("key {name:?} was written by a newer version of Mainstay; run that version");
            return Err(Refusal::Failed { what, source: None });
        }
        Ok(Some((stored.revision, stored.value)))
    }

    fn lock(&self, name: &str) -> &Mutex<()> {
        &self.shared.locks[self.shared.hasher.hash_one(name) as usize % LOCKS]
    }
}

/// Makes a stored key ready; that of RSA beside the async threads, since each version takes a millisecond or so.
async fn open(name: &str, entry: Entry) -> Result<Key, Refusal> {
    if !matches!(entry.settings.key_type.family(), Family::Rsa(_)) {
        return Ok(Key::open(name, &entry)?);
    }
    let name = name.to_owned();
    let task = tokio::task::spawn_blocking(move || Key::open(&name, &entry));
    Ok(task.await.map_err(|error| Refusal::failed("reading a transit key was interrupted", error))??)
}

fn write(name: &str, expect: Expect, archived: bool, document: &Document) -> Batch {
    let mut batch = Batch::default();
    batch.put(&policy_of(name), expect, &document.entry);
    if !document.archive.versions.is_empty() {
        batch.put(&archive_of(name), Expect::Anything, &document.archive);
    } else if archived {
        batch.delete(&archive_of(name), Expect::Anything);
    }
    batch
}

fn remove(name: &str, expect: Expect) -> Batch {
    let mut batch = Batch::default();
    batch.delete(&policy_of(name), expect).delete(&archive_of(name), Expect::Anything);
    batch
}

fn policy_of(name: &str) -> String {
    format!("policy/{name}")
}

fn archive_of(name: &str) -> String {
    format!("archive/{name}")
}

fn capacity(cached_keys: usize) -> usize {
    if cached_keys == 0 { DEFAULT_CACHED_KEYS } else { cached_keys }
}
