//! The layer's own recovery: its repository and the key to it, backups of its own state, copies elsewhere, and whoever asks
//! about all this.

mod backup;
mod copies;
mod depot;
mod events;
mod keep;
mod key;
mod kit;
pub mod marker;
mod salvage;
mod tenure;
mod verification;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use mainstay_control::Control;
use mainstay_custody::Custody;
use mainstay_http::{DeskError, RecoveryDesk, Standing, Verification};
use mainstay_repository::{Location, Repository};
use mainstay_types::Timestamp;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::config::{Config, Seal};

use self::backup::{LayerBackupState, LayerBackups};
use self::copies::Copy;
use self::key::LayerRecoveryKey;
use self::tenure::TenureFile;
use self::verification::Verifier;

pub(crate) use self::depot::RepositoryDepot;
pub(crate) use self::salvage::{Salvage, SalvageError};
pub(crate) use self::tenure::{TenureError, take_over};

/// The names of the parts that are files.
const MASTER_KEY: &str = "master.key";
const ADMIN_TOKEN: &str = "admin.token";
const CONFIGURATION: &str = "mainstay.toml";

/// What keeps the layer recoverable.
pub(super) struct LayerRecovery {
    location: Location,
    key: LayerRecoveryKey,
    pub(super) depot: Arc<RepositoryDepot>,
    copies: Vec<Arc<Copy>>,
    backups: Arc<Mutex<LayerBackupState>>,
    verifier: Verifier,
}

// === impl LayerRecovery ===

impl LayerRecovery {
    /// None where the configuration names no repository.
    pub fn new(config: &Config, custody: &Custody) -> Option<Self> {
        let Some(place) = &config.recovery.repository else {
            if !config.recovery.declined {
                tracing::warn!(
                    "nothing is protected: no backups are taken, since Recovery:Repository (Recovery__Repository) names no place for them"
                );
            }
            return None;
        };
        let key = LayerRecoveryKey::new(custody.clone());
        let repository = mainstay_repository::Config {
            immutable_for: config.recovery.immutable_for,
            ..mainstay_repository::Config::new(place.location.clone(), place.credentials.clone())
        };
        let tenure = TenureFile::of(&config.data_dir);
        let depot = Arc::new(RepositoryDepot::new(repository, key.clone(), tenure));
        Some(Self::of(config, place.location.clone(), key, depot))
    }

    /// The same with a repository that is open already.
    pub fn with(config: &Config, custody: &Custody, repository: Repository) -> Self {
        let location = repository.location().clone();
        let depot = Arc::new(RepositoryDepot::of(repository));
        Self::of(config, location, LayerRecoveryKey::new(custody.clone()), depot)
    }

    fn of(config: &Config, location: Location, key: LayerRecoveryKey, depot: Arc<RepositoryDepot>) -> Self {
        let copies = config.recovery.copies.iter().cloned().map(|place| Arc::new(Copy::new(place, depot.clone())));
        let copies = copies.collect();
        Self { location, key, depot, copies, backups: Arc::default(), verifier: Verifier::default() }
    }

    /// Takes backups of the layer's own state and keeps the copies up, until `stop` turns true.
    pub async fn keep_on(&self, config: &Config, control: &Control, custody: &Custody, stop: watch::Receiver<bool>) {
        let (taken, backups) = watch::channel(0);
        let layer = LayerBackups {
            control: control.clone(),
            custody: custody.clone(),
            depot: self.depot.clone(),
            files: files(config),
            state: self.backups.clone(),
            taken,
        };
        tokio::select! {
            () = layer.run(stop) => {}
            _ = join_all(self.copies.iter().map(|copy| copy.keep_up(backups.clone()))), if !self.copies.is_empty() => {}
        }
    }
}

/// The files without which the stores of a layer cannot be used, or nobody gets in.
fn files(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut files = vec![(ADMIN_TOKEN, config.data_dir.join(ADMIN_TOKEN))];
    if let Seal::KeyFile { file, .. } = &config.custody.seal {
        files.push((MASTER_KEY, file.clone()));
    }
    if let Some(file) = &config.file {
        files.push((CONFIGURATION, file.clone()));
    }
    files
}

#[async_trait]
impl RecoveryDesk for LayerRecovery {
    async fn standing(&self) -> Standing {
        let repository = self.depot.at_hand();
        let statistics = repository.as_ref().map(Repository::statistics).unwrap_or_default();
        let backups = self.backups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Standing {
            location: self.location.to_string(),
            repository_id: repository.map(|repository| repository.id().to_string()),
            trouble: self.depot.health().await,
            damaged_documents: self.depot.damaged(),
            key_fingerprint: self.key.read().await.ok().map(|key| key.fingerprint()),
            contents: statistics.contents,
            raw_bytes: statistics.raw_bytes,
            stored_bytes: statistics.stored_bytes,
            last_layer_backup: backups.taken_at,
            last_layer_sequence: backups.sequence,
            layer_backup_trouble: backups.trouble,
            copies: copies::standings(&self.copies).await,
        }
    }

    async fn kit(&self) -> Result<SecretString, DeskError> {
        let key = self.key.read().await.map_err(|error| DeskError::Unavailable(error.into()))?;
        Ok(kit::kit(&key, &self.location, &Timestamp::now().to_string()))
    }

    async fn shares(&self, shares: u8, threshold: u8) -> Result<Vec<SecretString>, DeskError> {
        let key = self.key.read().await.map_err(|error| DeskError::Unavailable(error.into()))?;
        let made = key.split(shares, threshold).map_err(|error| DeskError::Numbers(error.to_string()))?;
        Ok(made.iter().map(|share| SecretString::from(share.to_text().as_str())).collect())
    }

    async fn take_over(&self) {
        // Why it did not come about is the trouble that the standing tells.
        let _ = self.depot.take_over().await;
    }

    fn begin_verification(&self, bytes_per_second: Option<u64>) {
        self.verifier.begin(self.depot.clone(), bytes_per_second);
    }

    fn verification(&self) -> Verification {
        self.verifier.latest()
    }
}
