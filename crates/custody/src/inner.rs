//! What all handles to one store share, and how its keys come into memory and leave it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mainstay_storage::{ReadError, Statement, Store, WriteError};
use mainstay_types::Timestamp;
use tokio::sync::{Mutex, MutexGuard, watch};
use zeroize::Zeroizing;

use crate::aead::KeyBytes;
use crate::barrier::BarrierError;
use crate::cache::Cache;
use crate::head::{Head, IntegrityError};
use crate::integrity::IntegrityKey;
use crate::keyring::{self, KeyVersion, Keyring, KeyringError, Opened};
use crate::record::Record;
use crate::seal::{Seal, SealFault, SealKind, StoredSeal};

pub(crate) struct Inner {
    pub store: Store,
    pub cache: Cache,
    /// None while the store is sealed.
    keys: RwLock<Option<Keyring>>,
    /// Whether it is, for whoever has to forget something then.
    sealed: watch::Sender<bool>,
    /// Whoever changes the store, its keys or its seal holds this meanwhile: one change at a time in this process.
    turn: Mutex<Turn>,
    position: AtomicU64,
    /// What was removed since a snapshot last asked, while one is taken. Changed only by whoever has the turn.
    pub removed: std::sync::Mutex<Option<Vec<Removed>>>,
    /// Held while a snapshot is restored.
    pub restoring: Mutex<()>,
}

/// What the changes of the store go on from.
pub(crate) struct Turn {
    /// None while the store is sealed.
    pub head: Option<Head>,
    /// The seal that the root key in memory came from.
    seal: Option<StoredSeal>,
    /// Whether a change was not confirmed, or another process was seen to write, so that the stored head counts.
    pub doubtful: bool,
}

/// An entry that was removed.
pub(crate) struct Removed {
    pub path: String,
    /// The revision of its removal: an entry at the path with a higher one was made later.
    pub revision: u64,
}

/// Why a store was not unsealed or initialised.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    #[error("the secret store is not initialised; initialise it first")]
    NotInitialized,
    #[error("the secret store is initialised already")]
    Initialized,
    #[error("the secret store is sealed with {stored}, and not with {given}; configure the seal that it has")]
    OtherSeal { stored: SealKind, given: &'static str },
    #[error(
        "the master key {given} is not the one that the secrets are sealed with, which is {expected}; \
         name the file that holds that one"
    )]
    WrongKey { given: String, expected: String },
    #[error("the key shares do not make the key of this store; begin again with the right ones")]
    WrongShares,
    #[error(transparent)]
    InvalidShare(#[from] crate::seal::InvalidShare),
    #[error("the seal does not unwrap the root key")]
    Seal(#[source] SealFault),
    #[error("the seal of the secret store is damaged; restore the store from a snapshot")]
    Damaged,
    #[error("the keys of the secret store cannot be used")]
    Keyring(#[source] KeyringError),
    #[error("the secret store was changed behind custody's back")]
    Integrity(#[source] IntegrityError),
    #[error("the secret store cannot be read")]
    Read(#[source] ReadError),
    #[error("the secret store cannot be initialised")]
    Write(#[source] WriteError),
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

// === impl Inner ===

impl Inner {
    /// A store that is sealed for now.
    pub fn new(store: Store) -> Self {
        let turn = Turn { head: None, seal: None, doubtful: false };
        Self {
            store,
            cache: Cache::new(),
            keys: RwLock::new(None),
            sealed: watch::Sender::new(true),
            turn: Mutex::new(turn),
            position: AtomicU64::new(0),
            removed: std::sync::Mutex::default(),
            restoring: Mutex::default(),
        }
    }

    pub fn is_sealed(&self) -> bool {
        self.read().is_none()
    }

    pub fn follow_seal(&self) -> watch::Receiver<bool> {
        self.sealed.subscribe()
    }

    /// The newest revision; 0 while the store is sealed.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Waits until nobody else changes the store.
    pub async fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().await
    }

    /// Does something with the keys, which must not take long.
    pub fn with_keys<T>(&self, work: impl FnOnce(&Keyring) -> T) -> Option<T> {
        self.read().as_ref().map(work)
    }

    /// Changes the keys in memory, unless the store was sealed meanwhile.
    pub fn change_keys(&self, change: impl FnOnce(&mut Keyring)) {
        if let Some(keyring) = self.write().as_mut() {
            change(keyring);
        }
    }

    /// Opens an entry. A key that this process does not know may be another's work, so that the keys are read again for it.
    pub async fn open(&self, path: &str, record: &Record) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        let damaged = || BarrierError::Damaged { path: path.to_owned() };
        let open = || self.with_keys(|keyring| keyring.open(path, record)).ok_or(BarrierError::Sealed);
        match open()? {
            Opened::Value(value) => return Ok(value),
            Opened::Damaged => return Err(damaged()),
            Opened::UnknownKey => {}
        }
        self.reload_keys().await.map_err(|source| BarrierError::Keyring { path: path.to_owned(), source })?;
        match open()? {
            Opened::Value(value) => Ok(value),
            Opened::Damaged | Opened::UnknownKey => Err(damaged()),
        }
    }

    /// Initialises an empty store with new keys and leaves it unsealed.
    pub async fn initialize(&self, seal: &dyn Seal) -> Result<(), UnsealError> {
        let mut turn = self.turn().await;
        if self.stored_seal().await?.is_some() {
            return Err(UnsealError::Initialized);
        }
        if self.holds_entries().await.map_err(UnsealError::Read)? {
            return Err(UnsealError::Keyring(KeyringError::Lost));
        }
        let (keyring, mut statements) = Keyring::draw(Timestamp::now()).map_err(UnsealError::Random)?;
        let stored = StoredSeal::wrap(seal, keyring.root()).await.map_err(UnsealError::Seal)?;
        statements.insert(0, stored.insert());
        statements.push(Head::EMPTY.insert(keyring.integrity()).map_err(UnsealError::Random)?);
        self.store.write(statements).await.map_err(|error| match error {
            // Another process was faster.
            WriteError::ExpectationNotMet { .. } => UnsealError::Initialized,
            error => UnsealError::Write(error),
        })?;
        self.adopt(&mut turn, keyring, stored, Head::EMPTY);
        Ok(())
    }

    /// Unwraps the keys with a seal, and sees that the store is as its head says. That it is unsealed already is no error.
    pub async fn unseal(&self, seal: &dyn Seal) -> Result<(), UnsealError> {
        let mut turn = self.turn().await;
        let (stored, root) = self.unwrap_root(seal).await?;
        if !self.is_sealed() {
            return Ok(());
        }
        let rows = self.store.read(keyring::all_keys()).await.map_err(UnsealError::Read)?;
        let keyring = Keyring::unwrap(root, &rows).map_err(UnsealError::Keyring)?;
        let head = Head::load(&self.store, keyring.integrity()).await.map_err(UnsealError::Integrity)?;
        head.verify(&self.store, keyring.integrity()).await.map_err(UnsealError::Integrity)?;
        self.adopt(&mut turn, keyring, stored, head);
        Ok(())
    }

    /// The stored seal and the root key, where the given seal is the one of this store.
    pub async fn unwrap_root(&self, seal: &dyn Seal) -> Result<(StoredSeal, KeyBytes), UnsealError> {
        let stored = self.stored_seal().await?.ok_or(UnsealError::NotInitialized)?;
        let kind = seal.kind();
        if !stored.kind.is_like(&kind) {
            return Err(UnsealError::OtherSeal { stored: stored.kind, given: kind.as_str() });
        }
        if stored.key_id != seal.key_id() {
            return Err(match kind {
                SealKind::KeyFile => UnsealError::WrongKey { given: seal.key_id(), expected: stored.key_id },
                SealKind::Shamir(_) => UnsealError::WrongShares,
            });
        }
        let root = stored.unwrap(seal).await.map_err(UnsealError::Seal)?.ok_or(UnsealError::Damaged)?;
        Ok((stored, root))
    }

    /// Forgets all keys. What was asked before may still be answered; nothing is after this returns.
    pub async fn seal(&self) {
        self.write().take();
        self.cache.clear();
        // What is under way ends first, so that nothing of it is left when the store is unsealed again. It may have been an
        // unsealing.
        let mut turn = self.turn().await;
        self.write().take();
        turn.head = None;
        turn.seal = None;
        self.position.store(0, Ordering::Relaxed);
        self.sealed.send_replace(true);
    }

    /// Puts another store in the place of this one, and is sealed then.
    pub async fn replace(&self, statements: Vec<Statement>) -> Result<(), WriteError> {
        let mut turn = self.turn().await;
        // Before, so that nobody reads entries of the one store with the keys of the other.
        let keyring = self.write().take();
        if let Err(error) = self.store.write(statements).await {
            *self.write() = keyring;
            return Err(error);
        }
        self.cache.clear();
        turn.head = None;
        turn.seal = None;
        self.position.store(0, Ordering::Relaxed);
        self.sealed.send_replace(true);
        Ok(())
    }

    pub async fn stored_seal(&self) -> Result<Option<StoredSeal>, UnsealError> {
        StoredSeal::load(&self.store).await.map_err(UnsealError::Read)
    }

    /// Goes on from a head.
    pub fn advance(&self, turn: &mut Turn, head: Head) {
        turn.head = Some(head);
        self.position.store(head.counter, Ordering::Relaxed);
    }

    /// Makes a new data key, which seals what is written from now on.
    pub async fn rotate(&self, turn: &Turn) -> Result<KeyVersion, KeyringError> {
        let seal = turn.seal.as_ref().ok_or(KeyringError::Sealed)?;
        let next = self.with_keys(|keyring| keyring.next(Timestamp::now())).ok_or(KeyringError::Sealed)?;
        let (version, key, statement) = next.map_err(KeyringError::Random)?;
        match self.store.write(vec![seal.unchanged(), statement]).await {
            Ok(()) => {
                self.change_keys(|keyring| keyring.adopt(version, key));
                Ok(version)
            }
            Err(error) => Err(self.not_changed(error).await),
        }
    }

    /// Draws a new root key, which another seal wraps from now on.
    pub async fn rewrap(&self, seal: &dyn Seal) -> Result<(), KeyringError> {
        let mut turn = self.turn().await;
        let before = turn.seal.as_ref().ok_or(KeyringError::Sealed)?;
        let drawn = self.with_keys(Keyring::draw_root).ok_or(KeyringError::Sealed)?;
        let (root, mut statements) = drawn.map_err(KeyringError::Random)?;
        let after = StoredSeal::wrap(seal, &root).await.map_err(KeyringError::Seal)?;
        statements.insert(0, after.replace(before));
        match self.store.write(statements).await {
            Ok(()) => {}
            // Looked up at once: whoever brought the shares must get the new ones if they are the ones that count now.
            Err(error @ WriteError::OutcomeUnknown { .. }) => match StoredSeal::load(&self.store).await {
                Ok(Some(stored)) if stored == after => {}
                _ => return Err(KeyringError::Write(error)),
            },
            Err(error) => return Err(self.not_changed(error).await),
        }
        self.change_keys(|keyring| keyring.adopt_root(root));
        turn.seal = Some(after);
        Ok(())
    }

    /// Why keys were not changed. Where another process was faster its keys are read, so that a second try can work.
    async fn not_changed(&self, error: WriteError) -> KeyringError {
        match error {
            WriteError::ExpectationNotMet { .. } => match self.reload_keys().await {
                Ok(()) => KeyringError::Contended,
                Err(KeyringError::Damaged { .. }) => KeyringError::SealChanged,
                Err(error) => error,
            },
            error => KeyringError::Write(error),
        }
    }

    async fn reload_keys(&self) -> Result<(), KeyringError> {
        let rows = self.store.read(keyring::all_keys()).await.map_err(KeyringError::Read)?;
        let mut keys = self.write();
        let keyring = keys.as_mut().ok_or(KeyringError::Sealed)?;
        let read = Keyring::unwrap(keyring.root().clone(), &rows)?;
        *keyring = read;
        Ok(())
    }

    async fn holds_entries(&self) -> Result<bool, ReadError> {
        let entry = Statement::new("SELECT revision FROM entries LIMIT 1", []);
        Ok(!self.store.read(entry).await?.is_empty())
    }

    fn adopt(&self, turn: &mut Turn, keyring: Keyring, seal: StoredSeal, head: Head) {
        self.cache.clear();
        turn.seal = Some(seal);
        turn.doubtful = false;
        self.advance(turn, head);
        *self.write() = Some(keyring);
        self.sealed.send_replace(false);
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Keyring>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Keyring>> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The keys' integrity part for a change, and the head that it goes on from.
    pub fn begin(&self, inner: &Inner) -> Option<(Head, Arc<IntegrityKey>)> {
        Some((self.head?, inner.with_keys(|keyring| keyring.integrity().clone())?))
    }
}
