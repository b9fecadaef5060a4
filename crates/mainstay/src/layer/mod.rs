//! The layer, put together from its configuration: build, run, drain.

mod admin_token;
mod authority;
mod content_keys;
mod data_dir;
mod data_plane;
mod databases;
mod engines;
mod feed;
mod master_key;
mod object_store;
mod recovery;
pub(crate) mod tls;
mod tokens;
mod witness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_control::{Control, Depot, Reconciler, RecoverError, RecoveredLayer, RecoveryLoop};
use mainstay_custody::Custody;
use mainstay_engine::Engine;
use mainstay_engine::recovery::Progress;
use mainstay_engine::supervise::UserError;
use mainstay_http::Api;
use mainstay_journal::Journal;
use mainstay_repository::Repository;
use mainstay_secrets::{AuditFile, KeyFile, Secrets};
use mainstay_secrets_engine::{Kind, Refusal};
use mainstay_storage::{Claim, Service, Store};
use mainstay_types::{ClusterName, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{Config, Key, Seal};

use self::authority::LayerAuthority;
use self::databases::LayerDatabases;
use self::master_key::LayerKeyFile;
use self::object_store::{ObjectStore, ObjectStoreError};
use self::recovery::LayerRecovery;
use self::tokens::JournalTokens;
use self::witness::JournalWitness;

pub use admin_token::TokenFileError;
pub use data_dir::{DataDir, DataDirError, Holder};
pub use data_plane::{Plane, PlaneError};
pub use engines::{engines, stop_all};
pub(crate) use recovery::{Salvage, SalvageError, TenureError, marker, take_over};

/// How many ports dedicated clusters may be given: far more than one machine can run.
const DEDICATED_PORTS: u16 = 500;

/// A layer that is built and holds its data directory, and does nothing yet.
pub struct Layer {
    config: Config,
    /// Held so that no other control plane works on the same state, wherever it runs.
    _claim: Claim,
    control: Control,
    custody: Custody,
    secrets: Secrets,
    authority: Arc<LayerAuthority>,
    /// None where the configuration names no place for the bytes.
    object_store: Option<ObjectStore>,
    /// None where the configuration names no repository.
    recovery: Option<Arc<LayerRecovery>>,
    engines: Vec<Arc<dyn Engine>>,
    /// Held for its lock until the rest is gone, and the locks of clusters with it: so it is dropped last.
    data_dir: DataDir,
}

/// Why the layer does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the journal cannot be used")]
    JournalStore(#[source] mainstay_storage::OpenError),
    #[error("the journal cannot be used")]
    Claim(#[source] mainstay_storage::ClaimError),
    #[error("the journal cannot be used")]
    Journal(#[source] mainstay_journal::OpenError),
    #[error(transparent)]
    KeyFile(#[from] master_key::KeyFileError),
    #[error("the secret store cannot be used")]
    Custody(#[source] mainstay_custody::OpenError),
    #[error("the secret store cannot be used")]
    Secrets(#[source] Refusal),
    #[error("the audit log {} cannot be written; see that its folder exists and that there is room", file.display())]
    Audit {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    ObjectStore(#[from] ObjectStoreError),
    #[error("engines cannot be run")]
    EngineUser(#[from] UserError),
    #[error(
        "the data directory {} is being recovered, and was not to the end; repeat the call of 'mainstay recover', or remove the directory",
        .0.display()
    )]
    HalfRecovered(PathBuf),
}

/// Why a layer that was built stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "cannot listen on {address}; end what uses the port, or choose another with {} ({}={address})",
        key.name(), key.environment()
    )]
    Listen {
        address: SocketAddr,
        key: Key,
        #[source]
        source: std::io::Error,
    },
    #[error("the first admin token cannot be made")]
    Token(#[from] TokenFileError),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// What happens to the engines when the control plane stops in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engines {
    /// They go on serving, and the next control plane adopts them.
    Keep,
    Stop,
}

// === impl Layer ===

impl Layer {
    /// Builds the layer: takes the data directory, opens and claims the stores, prepares the engines.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let data_dir = DataDir::take(&config)?;
        if marker::is_set(&config.data_dir) {
            return Err(BuildError::HalfRecovered(config.data_dir));
        }
        Self::assemble(config, data_dir, LayerRecovery::new).await
    }

    /// Builds it in a directory that is being recovered, from a repository that is open.
    pub(crate) async fn build_anew(
        config: Config,
        data_dir: DataDir,
        repository: Repository,
    ) -> Result<Self, BuildError> {
        let with = |config: &Config, custody: &Custody| Some(LayerRecovery::with(config, custody, repository));
        Self::assemble(config, data_dir, with).await
    }

    async fn assemble(
        config: Config,
        data_dir: DataDir,
        recovery: impl FnOnce(&Config, &Custody) -> Option<LayerRecovery>,
    ) -> Result<Self, BuildError> {
        let location = config.storage.location(Service::Journal);
        let store = Store::open(&location, Service::Journal, mainstay_journal::SCHEMA).await;
        let store = store.map_err(BuildError::JournalStore)?;
        let claimant = claimant();
        let claim = store.claim(&claimant).await.map_err(BuildError::Claim)?;
        let journal = Journal::open(store).await.map_err(BuildError::Journal)?;
        let (custody, key_file) = open_custody(&config).await?;
        let authority = Arc::new(LayerAuthority::new(custody.clone()));
        // What fails now is told, and tried again, once the layer runs.
        let _ = authority.look().await;
        let mut engines = engines(&config, Some(authority.clone())).await?;
        let object_store = match &config.object_store {
            Some(own) => Some(ObjectStore::open(&config, own, &custody, &claimant).await?),
            None => None,
        };
        if let Some(object_store) = &object_store {
            engines.push(object_store.engine.clone());
        }
        let recovery = recovery(&config, &custody).map(Arc::new);
        let first = config.listen.dedicated_ports;
        let control_config = mainstay_control::Config {
            dedicated_ports: first..=first.saturating_add(DEDICATED_PORTS - 1),
            data_dir: config.storage.directory().map(|_| config.data_dir.clone()),
            depot: recovery.as_ref().map(|recovery| recovery.depot.clone() as Arc<dyn Depot>),
        };
        let control = Control::new(journal, custody.clone(), engines.clone(), control_config);
        if let Some(object_store) = &object_store {
            object_store.feed.connect(control.clone());
        }
        let audit = open_audit(&config.custody.audit_file)?;
        let tokens = Arc::new(JournalTokens::new(control.clone()));
        let witness = Arc::new(JournalWitness::new(control.clone()));
        let secrets = Secrets::new(custody.clone(), kinds(&control), tokens, witness, key_file, audit)
            .await
            .map_err(BuildError::Secrets)?;
        Ok(Self {
            config,
            data_dir,
            _claim: claim,
            control,
            custody,
            secrets,
            authority,
            object_store,
            recovery,
            engines,
        })
    }

    /// Serves until `stop` turns true, then drains. `ready` is called once requests are answered.
    pub async fn run(
        &self,
        engines: Engines,
        stop: watch::Receiver<bool>,
        ready: impl FnOnce(),
    ) -> Result<(), RunError> {
        // Before anything is begun: files that are no certificates are the configuration's mistake.
        let tls = self.config.listen.tls.as_ref().map(tls::acceptor).transpose()?;
        let listener = listen(Key::ListenApi, self.config.listen.api).await?;
        let objects = match &self.object_store {
            Some(object_store) => Some((object_store, listen(Key::ListenS3, self.config.listen.s3).await?)),
            None => None,
        };
        admin_token::ensure(&self.control, &self.config.data_dir).await?;
        let reconciler = tokio::spawn(Reconciler::new(self.control.clone()).run(stop.clone()));
        let recovery = RecoveryLoop::new(self.control.clone()).map(|recovery| tokio::spawn(recovery.run(stop.clone())));
        let mut api = Api::new(self.control.clone(), env!("CARGO_PKG_VERSION")).with_secrets(self.secrets.clone());
        if let Some(object_store) = &self.object_store {
            api = api.with_scrubber(object_store.scrubber.clone());
        }
        if let Some(recovery) = &self.recovery {
            api = api.with_recovery(recovery.clone());
        }
        let router = mainstay_http::router(api);
        if let Err(error) = self.data_dir.tell_that_it_serves() {
            tracing::warn!(%error, "whoever started this in the background is not told that it serves");
        }
        let address = self.config.listen.api;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the control plane serves");
        ready();
        let objects = async {
            let Some((object_store, listener)) = objects else { return };
            tokio::select! {
                () = object_store.serve(&self.config, listener, tls.clone(), stop.clone()) => {}
                () = object_store.keep_on() => {}
            }
        };
        let own_state = async {
            let Some(recovery) = &self.recovery else { return };
            recovery.keep_on(&self.config, &self.control, &self.custody, stop.clone()).await;
        };
        let serve = async {
            tokio::join!(mainstay_http::serve(listener, tls.clone(), router, stop.clone()), objects, own_state)
        };
        tokio::select! {
            _ = serve => {}
            () = self.authority.follow_seal() => {}
        }
        if let Err(error) = reconciler.await {
            tracing::error!(%error, "the reconcile loop ended badly");
        }
        if let Some(recovery) = recovery
            && let Err(error) = recovery.await
        {
            tracing::error!(%error, "the recovery loop ended badly");
        }
        if engines == Engines::Stop {
            self.stop_engines().await;
        }
        Ok(())
    }

    /// Brings every cluster of the journal back, up to a moment where one is given. The engines serve then.
    pub(crate) async fn recover_clusters(
        &self,
        at: Option<Timestamp>,
        progress: &(dyn Fn(&ClusterName) -> Arc<dyn Progress> + Sync),
    ) -> Result<RecoveredLayer, RecoverError> {
        mainstay_control::recover_clusters(&self.control, at, progress).await
    }

    /// Stops every engine in order; the data stays.
    pub(crate) async fn stop_engines(&self) {
        for (cluster, error) in stop_all(&self.engines).await {
            tracing::error!(%cluster, %error, "a cluster could not be stopped");
        }
    }

    /// Closes the stores, which keeps the next start short.
    pub async fn close(self) {
        if let Some(object_store) = &self.object_store {
            object_store.feed.disconnect();
            object_store.close().await;
        }
        if let Some(recovery) = &self.recovery {
            recovery.depot.close().await;
        }
        self.control.journal().close().await;
        self.custody.close().await;
    }
}

async fn listen(key: Key, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, key, source })
}

/// Who claims the state, as an operator on another machine recognises it.
fn claimant() -> String {
    let machine = rustix::system::uname();
    format!("mainstay {} pid {}", machine.nodename().to_string_lossy(), std::process::id())
}

/// Opens the secret store with the seal that the configuration names.
async fn open_custody(config: &Config) -> Result<(Custody, Option<Arc<dyn KeyFile>>), BuildError> {
    let location = config.storage.location(Service::Custody);
    match &config.custody.seal {
        Seal::Shamir => {
            let custody = Custody::open_sealed(&location).await.map_err(BuildError::Custody)?;
            Ok((custody, None))
        }
        Seal::KeyFile { file, may_create } => {
            let custody = master_key::open(&location, file, *may_create).await?;
            let key_file = Arc::new(LayerKeyFile::new(file, custody.clone()));
            Ok((custody, Some(key_file)))
        }
    }
}

fn open_audit(file: &Path) -> Result<AuditFile, BuildError> {
    AuditFile::open(file).map_err(|source| BuildError::Audit { file: file.to_owned(), source })
}

/// Every kind of secrets engine and auth method that this version has.
fn kinds(control: &Control) -> Vec<Arc<dyn Kind>> {
    let databases = Arc::new(LayerDatabases::new(control.clone()));
    vec![
        Arc::new(mainstay_secrets_kv::KvKind),
        Arc::new(mainstay_secrets_transit::TransitKind),
        Arc::new(mainstay_secrets_pki::PkiKind),
        Arc::new(mainstay_secrets_database::DatabaseKind::new(databases)),
        Arc::new(mainstay_auth_methods::ApproleKind),
        Arc::new(mainstay_auth_methods::UserpassKind::default()),
        Arc::new(mainstay_auth_methods::JwtKind::Jwt),
        Arc::new(mainstay_auth_methods::JwtKind::Oidc),
    ]
}
