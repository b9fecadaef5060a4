//! The handle to a store: opening it, sealing and unsealing it, and its keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_storage::{Location, ReadError, Service, Store};
use tokio::sync::watch;

use crate::barrier::Barrier;
use crate::inner::{Inner, UnsealError};
use crate::keyring::{KeyStatus, KeyVersion, KeyringError};
use crate::operators::Operators;
use crate::schema::SCHEMA;
use crate::seal::{MasterKey, Seal, SealKind, StoredSeal};

/// The one authority for secret material. A clone is another handle to it.
#[derive(Clone)]
pub struct Custody {
    barrier: Barrier,
    operators: Arc<Mutex<Operators>>,
}

/// Why the secret store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(mainstay_storage::OpenError),
    #[error(transparent)]
    Unseal(UnsealError),
}

// === impl Custody ===

impl Custody {
    /// Opens the store at a location with the key in its key file, and unseals it; a new store is initialised with that key.
    pub async fn open(location: &Location, master: MasterKey) -> Result<Self, OpenError> {
        Self::open_with(location, &master).await
    }

    /// Opens the store at a location with a seal that answers by itself, and unseals it; a new store is initialised with it.
    pub async fn open_with(location: &Location, seal: &dyn Seal) -> Result<Self, OpenError> {
        let custody = Self::start(location).await?;
        let inner = custody.inner();
        let mut unsealed = inner.unseal(seal).await;
        if let Err(UnsealError::NotInitialized) = unsealed {
            unsealed = match inner.initialize(seal).await {
                // Two processes may open a new store at once: the first one's keys are the keys of both.
                Err(UnsealError::Initialized) => inner.unseal(seal).await,
                initialized => initialized,
            };
        }
        unsealed.map_err(OpenError::Unseal)?;
        Ok(custody)
    }

    /// Opens the store at a location whose seal is shares that operators hold: it is not initialised, or sealed until
    /// enough of them have brought theirs.
    pub async fn open_sealed(location: &Location) -> Result<Self, OpenError> {
        let custody = Self::start(location).await?;
        match custody.inner().stored_seal().await.map_err(OpenError::Unseal)? {
            Some(StoredSeal { kind: stored @ SealKind::KeyFile, .. }) => {
                Err(OpenError::Unseal(UnsealError::OtherSeal { stored, given: "key shares" }))
            }
            Some(_) | None => Ok(custody),
        }
    }

    async fn start(location: &Location) -> Result<Self, OpenError> {
        let store = Store::open(location, Service::Custody, SCHEMA).await.map_err(OpenError::Storage)?;
        let barrier = Barrier::start(Arc::new(Inner::new(store)));
        Ok(Self { barrier, operators: Arc::default() })
    }

    /// The barrier that all entries lie behind.
    pub fn barrier(&self) -> Barrier {
        self.barrier.clone()
    }

    /// Whether nothing can be read or written until the store is unsealed.
    pub fn is_sealed(&self) -> bool {
        self.inner().is_sealed()
    }

    /// The same, for whoever has to forget something when the store is sealed: told after each change.
    pub fn follow_seal(&self) -> watch::Receiver<bool> {
        self.inner().follow_seal()
    }

    /// Forgets all keys: nothing is readable from the moment this returns until the store is unsealed again. What was asked
    /// before is answered, or refused as sealed.
    pub async fn seal(&self) {
        self.operators().forget_attempts();
        self.inner().seal().await;
    }

    /// Unseals with a seal that answers by itself, as [`Custody::open`] does. That it is unsealed already is no error.
    pub async fn unseal_with(&self, seal: &dyn Seal) -> Result<(), UnsealError> {
        self.inner().unseal(seal).await
    }

    /// Whether a seal is the one that the store opens with now. It opens nothing.
    pub async fn opens_with(&self, seal: &dyn Seal) -> Result<bool, UnsealError> {
        match self.inner().unwrap_root(seal).await {
            Ok(_) => Ok(true),
            Err(UnsealError::WrongKey { .. } | UnsealError::WrongShares) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The store's position: rises with every change of an entry, and never falls.
    ///
    /// The store notices by itself when an entry was put back to an older state, since its head would not match, but not
    /// when all of it was, head included. A witness elsewhere does: whoever keeps the highest position that it has seen,
    /// as the journal can, and finds a lower one after unsealing, has an old copy before it. 0 while the store is sealed.
    pub fn position(&self) -> u64 {
        self.inner().position()
    }

    /// Makes a new data key for what is written from now on; what was written before stays readable.
    pub async fn rotate_data_key(&self) -> Result<KeyVersion, KeyringError> {
        let turn = self.inner().turn().await;
        self.inner().rotate(&turn).await
    }

    /// The newest data key and how much it has sealed.
    pub async fn data_key(&self) -> Result<KeyStatus, KeyringError> {
        let turn = self.inner().turn().await;
        let head = turn.head.ok_or(KeyringError::Sealed)?;
        let status = self.inner().with_keys(|keyring| {
            let (version, key) = keyring.newest();
            let operations = if head.key_version == version { head.operations } else { 0 };
            KeyStatus { version, installed_at: key.installed_at, operations }
        });
        status.ok_or(KeyringError::Sealed)
    }

    /// Puts a new master key in the place of the one in the key file, which opens nothing any more. The new key's file must
    /// be in place before. A store that is sealed with shares is rekeyed by its operators instead.
    pub async fn rewrap(&self, master: MasterKey) -> Result<(), KeyringError> {
        let stored = StoredSeal::load(&self.inner().store).await.map_err(KeyringError::Read)?;
        let stored = stored.ok_or(KeyringError::Lost)?;
        if !stored.kind.is_like(&SealKind::KeyFile) {
            let remedy = "rekeying with the present shares";
            return Err(KeyringError::OtherSeal { stored: stored.kind, remedy });
        }
        self.inner().rewrap(&master).await
    }

    /// Whether the store answers now.
    pub async fn health(&self) -> Result<(), ReadError> {
        self.inner().store.health().await
    }

    /// Finishes what was begun and gives up the connections. Later calls fail.
    pub async fn close(&self) {
        self.barrier.close().await;
        self.inner().store.close().await;
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.barrier.inner
    }

    pub(crate) fn operators(&self) -> MutexGuard<'_, Operators> {
        self.operators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
