//! The backup repository, as the control plane sees it: opened when it is first needed, and tried again when it does not answer.
//!
//! A repository that is away keeps nobody from starting or serving; what cannot be backed up meanwhile is planned anew.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_control::{Depot, DepotError};
use mainstay_custody::RecordError;
use mainstay_dataplane::{DataPlane, Inventory};
use mainstay_repository::{Config, Contender, DocumentError, KeepError, Location, OpenError, RecoveryKey, Repository};
use mainstay_types::chain;
use tokio::time::Instant;
use uuid::Uuid;

use super::key::LayerRecoveryKey;
use super::tenure::{TenureError, TenureFile};

/// How long a repository may take to be opened: its index is read, from far away.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// How soon one that could not be opened is tried again; whoever asks meanwhile is told so at once.
const PAUSE: Duration = Duration::from_secs(5);

/// The repository of a layer.
#[derive(Default)]
pub(crate) struct RepositoryDepot {
    opener: Option<Opener>,
    opening: tokio::sync::Mutex<Opening>,
    openings: AtomicU64,
    /// Why it cannot be used now.
    trouble: Mutex<Option<String>>,
    damaged: Mutex<BTreeSet<String>>,
}

/// What a repository is opened with.
struct Opener {
    config: Config,
    key: LayerRecoveryKey,
    tenure: TenureFile,
}

#[derive(Default)]
struct Opening {
    repository: Option<Repository>,
    failed_at: Option<Instant>,
    /// As whom this process keeps it, however often it is opened.
    contender: Contender,
}

/// Why there is no repository now.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the recovery key cannot be read")]
    Key(#[source] RecordError),
    #[error(
        "the repository at {location} was made with another recovery key, by another layer or by an earlier one; name another place in \
         Recovery:Repository, or bring back what is in it with: mainstay recover --repository {location} --to DIR"
    )]
    Foreign {
        location: Location,
        #[source]
        source: OpenError,
    },
    #[error(transparent)]
    Open(OpenError),
    #[error(transparent)]
    Tenure(#[from] TenureError),
    #[error(
        "the repository {wanted} of this layer is not at {location}, where {}; see that the disk is mounted, or go on with what is there with: \
         mainstay repository take-over", found.map_or("there is none".to_owned(), |found| format!("{found} is"))
    )]
    Missing { location: Location, wanted: Uuid, found: Option<Uuid> },
    #[error("nothing is written to {location} or removed there")]
    Kept {
        location: Location,
        #[source]
        source: KeepError,
    },
    #[error("the repository at {location} did not open within {} s", OPEN_TIMEOUT.as_secs())]
    Slow { location: Location },
    #[error("{0}")]
    Before(String),
}

// === impl RepositoryDepot ===

impl RepositoryDepot {
    pub fn new(config: Config, key: LayerRecoveryKey, tenure: TenureFile) -> Self {
        Self { opener: Some(Opener { config, key, tenure }), ..Self::default() }
    }

    /// The depot of a repository that is open already.
    pub fn of(repository: Repository) -> Self {
        let opening = Opening { repository: Some(repository), ..Opening::default() };
        Self { opening: tokio::sync::Mutex::new(opening), ..Self::default() }
    }

    /// The repository, which is made where there is none.
    pub async fn repository(&self) -> Result<Repository, DepotError> {
        let mut opening = self.opening.lock().await;
        if let Some(repository) = opening.repository.take_if(|open| open.is_outdated() && self.opener.is_some()) {
            tracing::info!(location = %repository.location(), "the backup repository has changed, and is opened anew");
            let_go(repository).await;
        }
        if let Some(repository) = &opening.repository {
            return Ok(repository.clone());
        }
        if opening.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            let reason = self.trouble().unwrap_or_default();
            return Err(unavailable(Closed::Before(reason)));
        }
        self.open_in(&mut opening, false).await
    }

    /// Makes the repository this layer's own, whoever kept it until now and whatever was there before.
    pub async fn take_over(&self) -> Result<(), DepotError> {
        let mut opening = self.opening.lock().await;
        if let Some(repository) = opening.repository.take_if(|_| self.opener.is_some()) {
            let_go(repository).await;
        }
        self.open_in(&mut opening, true).await.map(drop)
    }

    async fn open_in(&self, opening: &mut Opening, whatever: bool) -> Result<Repository, DepotError> {
        match self.open(&mut opening.contender, whatever).await {
            Ok(repository) => {
                tracing::info!(location = %repository.location(), id = %repository.id(), "the backup repository is open");
                (opening.repository, opening.failed_at) = (Some(repository.clone()), None);
                self.openings.fetch_add(1, Ordering::Relaxed);
                self.is_well();
                Ok(repository)
            }
            Err(closed) => {
                opening.failed_at = Some(Instant::now());
                self.is_in_trouble(chain(&closed));
                Err(unavailable(closed))
            }
        }
    }

    /// The repository, where it is open already.
    pub fn at_hand(&self) -> Option<Repository> {
        // Whoever opens it takes long where it is away; until then it is not open.
        self.opening.try_lock().ok()?.repository.clone()
    }

    /// How often it was opened: since the last time it may be another one, or be as it was earlier.
    pub fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// How it is: asked for, where nothing is known against it.
    pub async fn health(&self) -> Option<String> {
        if let Some(trouble) = self.trouble() {
            return Some(trouble);
        }
        self.at_hand()?.backend_health().await.trouble
    }

    /// Why it cannot be used now, as far as that is known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its documents that can not be read, as far as that was found.
    pub fn damaged(&self) -> Vec<String> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Lets go of it.
    pub async fn close(&self) {
        let open = self.opening.lock().await.repository.take();
        if let Some(repository) = open {
            let_go(repository).await;
        }
    }

    async fn open(&self, contender: &mut Contender, whatever: bool) -> Result<Repository, Closed> {
        let opener = self.opener.as_ref().ok_or_else(|| Closed::Before("it was closed".to_owned()))?;
        let key = opener.key.read().await.map_err(Closed::Key)?;
        match tokio::time::timeout(OPEN_TIMEOUT, opener.open(&key, contender, whatever)).await {
            Ok(opened) => opened,
            Err(_) => Err(Closed::Slow { location: opener.config.location.clone() }),
        }
    }

    /// Notes what came of a call, and says so where it is news.
    fn told<T>(&self, outcome: Result<T, DocumentError>) -> Result<T, DepotError> {
        match outcome {
            Ok(value) => {
                self.is_well();
                Ok(value)
            }
            Err(error @ DocumentError::Damaged { .. }) => Err(DepotError::Damaged(error.into())),
            Err(error) => {
                self.is_in_trouble(chain(&error));
                Err(unavailable(error))
            }
        }
    }

    fn is_well(&self) {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            tracing::info!("the backup repository answers again");
        }
    }

    fn is_in_trouble(&self, reason: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&reason) {
            tracing::error!(reason, "the backup repository cannot be used at present; nothing is backed up meanwhile");
            *trouble = Some(reason);
        }
    }
}

// === impl Opener ===

impl Opener {
    /// Opens the repository that this layer keeps, or makes one where it never had any.
    async fn open(&self, key: &RecoveryKey, contender: &mut Contender, whatever: bool) -> Result<Repository, Closed> {
        let location = || self.config.location.clone();
        let tenure = if whatever { self.tenure.read_or_forget() } else { self.tenure.read() }?;
        let wanted = tenure.repository_at(&self.config.location).filter(|_| !whatever);
        let repository = match Repository::open(self.config.clone(), key).await {
            Err(OpenError::Absent { .. }) => match wanted {
                Some(wanted) => return Err(Closed::Missing { location: location(), wanted, found: None }),
                None => Repository::create(self.config.clone(), key).await.map_err(Closed::Open)?,
            },
            Err(source @ OpenError::WrongKey { .. }) => return Err(Closed::Foreign { location: location(), source }),
            opened => opened.map_err(Closed::Open)?,
        };
        let found = repository.id();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(Closed::Missing { location: location(), wanted, found: Some(found) });
        }
        // Before the repository names the layer: who was told that it keeps one has to know itself again.
        let tenure = tenure.with(&self.config.location, found);
        self.tenure.write(&tenure)?;
        let kept = match whatever {
            true => repository.take_over_for(tenure.layer, contender).await,
            false => repository.keep_for(tenure.layer, contender).await,
        };
        match kept {
            Ok(()) => Ok(repository),
            Err(source) => Err(Closed::Kept { location: location(), source }),
        }
    }
}

async fn let_go(repository: Repository) {
    if let Err(trouble) = repository.close().await {
        tracing::warn!(error = chain(&trouble), "the backup repository was not let go of in order");
    }
}

#[async_trait]
impl Depot for RepositoryDepot {
    async fn plane(&self) -> Result<Arc<dyn DataPlane>, DepotError> {
        Ok(Arc::new(self.repository().await?))
    }

    async fn inventory(&self) -> Result<Arc<dyn Inventory>, DepotError> {
        Ok(Arc::new(self.repository().await?))
    }

    async fn put(&self, kind: &str, name: &str, bytes: Vec<u8>) -> Result<(), DepotError> {
        let repository = self.repository().await?;
        self.told(repository.put_document(kind, name, Bytes::from(bytes)).await)
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, DepotError> {
        let repository = self.repository().await?;
        Ok(self.told(repository.document(kind, name).await)?.map(Vec::from))
    }

    async fn names(&self, kind: &str) -> Result<Vec<String>, DepotError> {
        let repository = self.repository().await?;
        self.told(repository.documents(kind).await)
    }

    async fn remove(&self, kind: &str, name: &str) -> Result<bool, DepotError> {
        let repository = self.repository().await?;
        match repository.remove_document(kind, name).await {
            Err(DocumentError::Immutable { .. }) => Ok(false),
            removed => self.told(removed).map(|_| true),
        }
    }

    fn tell_damaged(&self, documents: &BTreeSet<String>) {
        documents.clone_into(&mut self.damaged.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl std::fmt::Debug for RepositoryDepot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepositoryDepot").field("trouble", &self.trouble()).finish_non_exhaustive()
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> DepotError {
    DepotError::Unavailable(Box::new(error))
}
