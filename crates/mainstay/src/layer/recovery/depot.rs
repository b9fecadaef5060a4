//! The backup repository, as the control plane sees it: opened when it is first needed, and tried again when it does not answer.
//!
//! A repository that is away keeps nobody from starting or serving; what cannot be backed up meanwhile is planned anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_control::{Depot, DepotError};
use mainstay_custody::RecordError;
use mainstay_dataplane::{DataPlane, Inventory};
use mainstay_repository::{Config, DocumentError, Location, OpenError, Repository};
use mainstay_types::chain;
use tokio::time::Instant;

use super::key::LayerRecoveryKey;

/// How long a repository may take to be opened: its index is read, from far away.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// How soon one that could not be opened is tried again; whoever asks meanwhile is told so at once.
const PAUSE: Duration = Duration::from_secs(5);

/// The repository of a layer.
pub(crate) struct RepositoryDepot {
    opener: Option<Opener>,
    opening: tokio::sync::Mutex<Opening>,
    /// Why it cannot be used now.
    trouble: Mutex<Option<String>>,
}

/// What a repository is opened with.
struct Opener {
    config: Config,
    key: LayerRecoveryKey,
}

#[derive(Default)]
struct Opening {
    repository: Option<Repository>,
    failed_at: Option<Instant>,
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
    #[error("the repository at {location} did not open within {} s", OPEN_TIMEOUT.as_secs())]
    Slow { location: Location },
    #[error("{0}")]
    Before(String),
}

// === impl RepositoryDepot ===

impl RepositoryDepot {
    pub fn new(config: Config, key: LayerRecoveryKey) -> Self {
        Self { opener: Some(Opener { config, key }), opening: tokio::sync::Mutex::default(), trouble: Mutex::default() }
    }

    /// The depot of a repository that is open already.
    pub fn of(repository: Repository) -> Self {
        let opening = Opening { repository: Some(repository), failed_at: None };
        Self { opener: None, opening: tokio::sync::Mutex::new(opening), trouble: Mutex::default() }
    }

    /// The repository, which is made where there is none.
    pub async fn repository(&self) -> Result<Repository, DepotError> {
        let mut opening = self.opening.lock().await;
        if let Some(repository) = &opening.repository {
            return Ok(repository.clone());
        }
        if opening.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            let reason = self.trouble().unwrap_or_default();
            return Err(unavailable(Closed::Before(reason)));
        }
        match self.open().await {
            Ok(repository) => {
                tracing::info!(location = %repository.location(), id = %repository.id(), "the backup repository is open");
                opening.repository = Some(repository.clone());
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

    /// Why it cannot be used now.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of it.
    pub async fn close(&self) {
        let open = self.opening.lock().await.repository.take();
        if let Some(repository) = open
            && let Err(trouble) = repository.close().await
        {
            tracing::warn!(error = chain(&trouble), "the backup repository was not let go of in order");
        }
    }

    async fn open(&self) -> Result<Repository, Closed> {
        let opener = self.opener.as_ref().ok_or_else(|| Closed::Before("it was closed".to_owned()))?;
        let key = opener.key.read().await.map_err(Closed::Key)?;
        let opened = Repository::open_or_create(opener.config.clone(), &key);
        let location = || opener.config.location.clone();
        match tokio::time::timeout(OPEN_TIMEOUT, opened).await {
            Ok(Ok(repository)) => Ok(repository),
            Ok(Err(source @ OpenError::WrongKey { .. })) => Err(Closed::Foreign { location: location(), source }),
            Ok(Err(error)) => Err(Closed::Open(error)),
            Err(_) => Err(Closed::Slow { location: location() }),
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
}

impl std::fmt::Debug for RepositoryDepot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepositoryDepot").field("trouble", &self.trouble()).finish_non_exhaustive()
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> DepotError {
    DepotError::Unavailable(Box::new(error))
}
