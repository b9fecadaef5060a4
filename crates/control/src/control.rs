//! The control plane's handle: the one write path, and what can be read without asking anybody.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_custody::Custody;
use mainstay_domain::command::{Command, Context, Decision, Rejection};
use mainstay_domain::event::Actor;
use mainstay_domain::recovery::{Means, Recoverable, Scope};
use mainstay_domain::view::{Cluster, Operation, View};
use mainstay_engine::{Availability, ClusterSpec, Engine};
use mainstay_journal::{Journal, SubmitError as JournalError};
use mainstay_types::{ContractRef, EngineName, Offering, OperationId, Timestamp, chain};
use tokio::time::Instant;

use crate::outside::{Room, room};
use crate::reconcile::{Occupation, Troubles};
use crate::recovery::{Catalogues, Depot, Doing, Watched};

/// Room that is kept on the data directory's file system for the layer itself: while less is free, consumers'
/// requests that need more are refused, so that the journal can still record what the engines do and what is deleted.
const RESERVED_BYTES: u64 = 32 << 20;

/// How long one engine may take to give its figures for the metrics page.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a store may take to say that it is well. Whoever asks for readiness gives up after a few seconds, and has to
/// hear before then which of the stores it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// What the control plane is built from.
#[derive(Clone)]
pub struct Config {
    /// The ports that dedicated clusters are given.
    pub dedicated_ports: RangeInclusive<u16>,
    /// The data directory, whose file system keeps a reserve; none where nothing is kept on disk.
    pub data_dir: Option<PathBuf>,
    /// Where backups are kept; none where nothing is backed up.
    pub depot: Option<Arc<dyn Depot>>,
}

/// A handle to the control plane. A clone is another handle to the same.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    custody: Custody,
    engines: BTreeMap<EngineName, Arc<dyn Engine>>,
    offerings: Arc<[Offering]>,
    recoverable: Arc<Recoverable>,
    catalogues: Catalogues,
    troubles: Troubles,
    watched: Watched,
    occupation: Occupation,
    config: Config,
}

/// A command that was taken and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The operation that does the work, where there is work to do.
    pub operation: Option<OperationId>,
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Rejected(Rejection),
    /// The disk is too full for more. What was there is safe, and room makes the layer take requests again.
    #[error("the disk under {} has {free} bytes left, and {RESERVED_BYTES} are reserved for the layer itself", path.display())]
    ReserveReached { path: PathBuf, free: u64 },
    #[error("the journal did not take it")]
    Journal(#[source] JournalError<Rejection>),
}

/// Why the end of an operation was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    #[error("the operation is still in progress")]
    StillInProgress,
    #[error("the control plane is stopping")]
    Stopping,
}

// === impl Control ===

impl Control {
    /// Puts the control plane together. Nothing happens by itself until a [`crate::Reconciler`] runs.
    pub fn new(journal: Journal, custody: Custody, engines: Vec<Arc<dyn Engine>>, config: Config) -> Self {
        let offerings = engines.iter().map(|engine| engine.offering().clone()).collect();
        let recoverable = match &config.depot {
            Some(_) => engines.iter().filter_map(|engine| means(&**engine)).collect(),
            None => Recoverable::default(),
        };
        let recoverable = Arc::new(recoverable);
        let engines: BTreeMap<_, _> =
            engines.into_iter().map(|engine| (engine.offering().engine.clone(), engine)).collect();
        let (troubles, occupation, catalogues) = (Troubles::default(), Occupation::default(), Catalogues::default());
        Self {
            inner: Arc::new(Inner {
                journal,
                custody,
                engines,
                offerings,
                recoverable,
                catalogues,
                troubles,
                watched: Watched::default(),
                occupation,
                config,
            }),
        }
    }

    /// Decides a command and records what follows; the answer means that it is durable.
    pub async fn submit(&self, actor: Actor, command: impl Into<Command>) -> Result<Accepted, SubmitError> {
        let command = command.into();
        if actor != Actor::System && needs_room(&command) {
            self.check_reserve()?;
        }
        let offerings = self.inner.offerings.clone();
        let recoverable = self.inner.recoverable.clone();
        let dedicated_ports = self.inner.config.dedicated_ports.clone();
        let decide = move |view: &View, now: Timestamp| {
            let context = Context {
                now,
                actor: actor.clone(),
                offerings: offerings.clone(),
                recovery: recoverable.clone(),
                dedicated_ports: dedicated_ports.clone(),
            };
            command.decide(view, &context).map(|Decision { events, operation }| (events, operation))
        };
        match self.inner.journal.submit(decide).await {
            Ok(committed) => Ok(Accepted { operation: committed.answer }),
            Err(JournalError::Rejected(rejection)) => Err(SubmitError::Rejected(rejection)),
            Err(error) => Err(SubmitError::Journal(error)),
        }
    }

    /// Waits until an operation is finished, but no longer than this.
    pub async fn wait_for(&self, id: &OperationId, at_most: Duration) -> Result<Arc<Operation>, WaitError> {
        let deadline = Instant::now() + at_most;
        let mut views = self.inner.journal.watch();
        loop {
            let finished = {
                let view = views.borrow_and_update();
                view.operation(id).filter(|operation| operation.is_finished()).cloned()
            };
            if let Some(operation) = finished {
                return Ok(operation);
            }
            match tokio::time::timeout_at(deadline, views.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(WaitError::Stopping),
                Err(_) => return Err(WaitError::StillInProgress),
            }
        }
    }

    /// The view of the newest durable event.
    pub fn view(&self) -> Arc<View> {
        self.inner.journal.view()
    }

    /// The journal, for reading and following.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Custody, where the passwords are.
    pub(crate) fn custody(&self) -> &Custody {
        &self.inner.custody
    }

    /// The engine of a name, where this installation has it.
    pub fn engine(&self, name: &EngineName) -> Option<&Arc<dyn Engine>> {
        self.inner.engines.get(name)
    }

    /// All engines, by their names.
    pub(crate) fn engines(&self) -> impl Iterator<Item = &Arc<dyn Engine>> {
        self.inner.engines.values()
    }

    /// The data directory; none where nothing is kept on disk.
    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.inner.config.data_dir.as_deref()
    }

    /// Where backups are kept; none where nothing is backed up.
    pub fn depot(&self) -> Option<&Arc<dyn Depot>> {
        self.inner.config.depot.as_ref()
    }

    /// The engines whose data can be backed up here.
    pub fn recoverable(&self) -> &Recoverable {
        &self.inner.recoverable
    }

    /// What this installation can provide, and whether this machine has what each engine needs.
    pub async fn offerings(&self) -> Vec<(Offering, Availability)> {
        let mut offerings = Vec::new();
        for engine in self.inner.engines.values() {
            offerings.push((engine.offering().clone(), engine.availability().await));
        }
        offerings
    }

    /// What this machine lacks of the engine that an instance of this contract would be made with: the engine that is
    /// named, or else the first. It is not asked where that engine has a cluster already.
    pub async fn missing_engine(
        &self,
        contract: &ContractRef,
        engine: Option<&EngineName>,
    ) -> Option<(EngineName, String, String)> {
        let meant = |offering: &&Offering| {
            offering.contract == *contract && engine.is_none_or(|engine| offering.engine == *engine)
        };
        let name = &self.inner.offerings.iter().find(meant)?.engine;
        if self.view().clusters().any(|cluster| cluster.engine == *name) {
            return None;
        }
        match self.engine(name)?.availability().await {
            Availability::Installed { .. } => None,
            Availability::Missing { reason, remedy } => Some((name.clone(), reason, remedy)),
        }
    }

    /// Steps that do not succeed at present and are tried again, as sentences, by what they work on.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.inner.troubles
    }

    /// The recovery work that is carried out at present.
    pub(crate) fn watched(&self) -> &Watched {
        &self.inner.watched
    }

    /// How far the work of an operation has come, where that can be watched.
    pub fn doing(&self, operation: &Operation) -> Option<Doing> {
        let view = self.view();
        let instance = view.instance(&operation.tenant, &operation.subject.id.parse().ok()?)?;
        self.inner.watched.of(operation.kind, instance)
    }

    /// The catalogues of the logs that are kept.
    pub(crate) fn catalogues(&self) -> &Catalogues {
        &self.inner.catalogues
    }

    /// Which clusters are worked on.
    pub(crate) fn occupation(&self) -> &Occupation {
        &self.inner.occupation
    }

    /// Why work on an instance does not get on at present, where it does not.
    pub fn trouble_with(&self, instance: &mainstay_types::InstanceId) -> Option<String> {
        self.inner.troubles.of_instance(instance)
    }

    /// Why a cluster does not serve at this moment, as far as it was seen; nothing where it does.
    pub fn trouble_with_cluster(&self, cluster: &mainstay_types::ClusterName) -> Option<String> {
        self.inner.troubles.of_cluster(cluster)
    }

    /// Whether the stores of the control plane answer: `None` where they do, the reason where not.
    pub async fn health(&self) -> [(&'static str, Option<String>); 2] {
        let journal = trouble(self.inner.journal.health());
        let (journal, custody) = futures::future::join(journal, trouble(self.inner.custody.health())).await;
        [("journal", journal), ("custody", custody)]
    }

    /// Figures of every serving cluster; a cluster that does not give them in time is left out.
    pub async fn figures(&self) -> Vec<(Arc<Cluster>, Vec<(&'static str, f64)>)> {
        let view = self.view();
        let of_cluster = |cluster: Arc<Cluster>| async move {
            let engine = self.engine(&cluster.engine)?;
            let figures = tokio::time::timeout(FIGURES_TIMEOUT, engine.figures(&spec(&cluster))).await.ok()?.ok()?;
            Some((cluster, figures))
        };
        let all = futures::future::join_all(view.clusters().cloned().map(of_cluster)).await;
        all.into_iter().flatten().collect()
    }

    fn check_reserve(&self) -> Result<(), SubmitError> {
        let Some(path) = &self.inner.config.data_dir else { return Ok(()) };
        match room(path) {
            Ok(Room { free, .. }) if free < RESERVED_BYTES => {
                Err(SubmitError::ReserveReached { path: path.clone(), free })
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot see how full the disk is");
                Ok(())
            }
        }
    }
}

/// The cluster as its engine is told of it.
pub(crate) fn spec(cluster: &Cluster) -> ClusterSpec {
    ClusterSpec {
        name: cluster.name.clone(),
        node: cluster.node.clone(),
        plan: cluster.plan,
        port: cluster.port,
        parameters: cluster.parameters.clone(),
        identity: cluster.identity.clone(),
    }
}

/// How an engine's data is backed up, where it can be.
fn means(engine: &dyn Engine) -> Option<(EngineName, Means)> {
    let recovery = engine.recovery()?;
    let scope = match recovery.scope() {
        mainstay_engine::recovery::Scope::Cluster => Scope::Cluster,
        mainstay_engine::recovery::Scope::Instance => Scope::Instance,
    };
    Some((engine.offering().engine.clone(), Means { scope, log: recovery.has_log() }))
}

/// Why a store does not answer, where it does not.
async fn trouble<E: std::error::Error>(health: impl Future<Output = Result<(), E>>) -> Option<String> {
    match tokio::time::timeout(HEALTH_TIMEOUT, health).await {
        Ok(answer) => answer.err().map(|error| chain(&error)),
        Err(_) => Some(format!("it did not answer within {} s", HEALTH_TIMEOUT.as_secs())),
    }
}

/// Whether a command makes something that takes room; what takes away is always let through.
fn needs_room(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateInstance(_)
            | Command::MoveInstance(_)
            | Command::BackUpInstance(_)
            | Command::RestoreInstance(_)
            | Command::RunDrill(_)
            | Command::CreateBinding(_)
            | Command::RotateBinding(_)
            | Command::ReplacePassword(_)
            | Command::CreateToken(_)
    )
}
