//! After a disaster: every cluster that a journal knows is laid out anew from its backups, on a machine that has nothing of them.

use std::sync::Arc;

use mainstay_domain::command::{ClusterRestoration, Command, InstanceFailure, RecordRecovery};
use mainstay_domain::event::{Actor, ClusterRestored};
use mainstay_domain::view::{Cluster, ClusterState, Instance, InstanceState, View};
use mainstay_engine::recovery::{Archive, Progress, Recovery, Restored, Salvaged, Scope, Until};
use mainstay_engine::{ClusterSpec, Engine, EngineError};
use mainstay_types::{ClusterName, EngineName, InstanceId, InstanceName, TenantName, Timestamp, chain};

use super::depot::{Depot, DepotError};
use super::document::PointDocument;
use super::{clear_scratch, points};
use crate::control::{Control, SubmitError, spec};
use crate::credentials::instance_spec;

/// How many backups of the same thing are tried, the newest first: where three in a row bring nothing back, the fault is elsewhere.
const TRIES: usize = 3;

/// What became of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub tenant: TenantName,
    pub instance: InstanceName,
    pub engine: EngineName,
    pub cluster: ClusterName,
    /// How far it came, or why it could not be brought back and what to do.
    pub outcome: Result<Reached, String>,
}

/// How far an instance came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The newest change that is in it.
    pub newest: Timestamp,
    /// What was lost of what had been kept, and why.
    pub lost: Option<String>,
}

/// What became of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredLayer {
    pub instances: Vec<Recovered>,
    /// Backups of a time that was gone back from, now or before. They stay in the repository for a month.
    pub left_aside: usize,
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("there is no repository to recover from")]
    NoDepot,
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error("the journal did not take what was brought back")]
    Submit(#[from] SubmitError),
}

/// Why one cluster or instance did not come back.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("this version of Mainstay has no engine {0}; recover with one that has")]
    NoEngine(EngineName),
    #[error("{0} is not backed up at all; delete the instance, or bring its data back by other means")]
    NotCovered(EngineName),
    #[error("the repository has no backup of it; delete the instance, or bring its data back by other means")]
    NoBackup,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Depot(#[from] DepotError),
}

/// Brings back every cluster that the view knows, from the newest backups that the depot holds, and records that. The engines
/// serve when this returns. Where a moment is given nothing newer comes back. `progress` gives who is told how far each cluster is.
///
/// What can not be brought back does not keep the rest from it: it is failed, and among the answers.
pub async fn recover_clusters(
    control: &Control,
    at: Option<Timestamp>,
    progress: &(dyn Fn(&ClusterName) -> Arc<dyn Progress> + Sync),
) -> Result<RecoveredLayer, RecoverError> {
    let depot = control.depot().ok_or(RecoverError::NoDepot)?.clone();
    clear_scratch(control).await;
    let mut points = points::readable(&*depot).await?;
    let (view, found) = (control.view(), points.len());
    // What was backed up after the moment, or in a past that was left before, is no past of what comes back now.
    points.retain(|point| {
        let ended_at = point.backup.ended_at;
        at.is_none_or(|at| ended_at <= at) && view.left_at(ended_at).is_none()
    });
    for point in &points {
        points::adopt(control, point).await?;
    }
    control.submit(Actor::System, RecordRecovery { until: at }).await?;
    let mut answers = Vec::new();
    for cluster in control.view().clusters() {
        let salvage = Salvage { control, depot: &depot, points: &points, at, view: control.view(), cluster };
        if salvage.has_served() {
            answers.extend(salvage.bring_back(progress(&cluster.name)).await?);
        }
    }
    Ok(RecoveredLayer { instances: answers, left_aside: found - points.len() })
}

/// One cluster, and what it may be brought back from.
struct Salvage<'a> {
    control: &'a Control,
    depot: &'a Arc<dyn Depot>,
    points: &'a [PointDocument],
    at: Option<Timestamp>,
    view: Arc<View>,
    cluster: &'a Cluster,
}

/// What became of an instance of the cluster.
type Outcome = (Arc<Instance>, Result<Reached, Failure>);

// === impl Salvage ===

impl Salvage<'_> {
    /// Whether there was data: what was only asked for is made by whoever runs next.
    fn has_served(&self) -> bool {
        self.cluster.identity.is_some() && self.cluster.state != ClusterState::Retired && !self.instances().is_empty()
    }

    /// The instances that had data.
    fn instances(&self) -> Vec<Arc<Instance>> {
        let had_data =
            |instance: &&Arc<Instance>| matches!(instance.state, InstanceState::Ready | InstanceState::Failed);
        self.view.instances_on(&self.cluster.name).filter(had_data).cloned().collect()
    }

    async fn bring_back(&self, progress: Arc<dyn Progress>) -> Result<Vec<Recovered>, SubmitError> {
        let mut answers = Vec::new();
        for (instance, outcome) in self.outcomes(progress).await? {
            let outcome = outcome.map_err(|failure| chain(&failure));
            if let Err(reason) = &outcome {
                self.submit(InstanceFailure { instance: instance.id.clone(), reason: reason.clone() }).await?;
            }
            let (tenant, engine) = (instance.tenant.clone(), instance.engine.clone());
            let (cluster, instance) = (self.cluster.name.clone(), instance.name.clone());
            answers.push(Recovered { tenant, instance, engine, cluster, outcome });
        }
        Ok(answers)
    }

    async fn outcomes(&self, progress: Arc<dyn Progress>) -> Result<Vec<Outcome>, SubmitError> {
        let Some(engine) = self.control.engine(&self.cluster.engine) else {
            return Ok(self.all(|| Failure::NoEngine(self.cluster.engine.clone())));
        };
        let Some(recovery) = engine.recovery() else {
            return Ok(self.all(|| Failure::NotCovered(self.cluster.engine.clone())));
        };
        match recovery.scope() {
            Scope::Cluster => self.as_one(recovery, progress).await,
            Scope::Instance => self.one_by_one(&**engine, recovery, progress).await,
        }
    }

    /// The same failure for every instance.
    fn all(&self, failure: impl Fn() -> Failure) -> Vec<Outcome> {
        self.instances().into_iter().map(|instance| (instance, Err(failure()))).collect()
    }

    /// Lays the cluster out from a backup of the whole of it.
    async fn as_one(&self, recovery: &dyn Recovery, progress: Arc<dyn Progress>) -> Result<Vec<Outcome>, SubmitError> {
        let spec = spec(self.cluster);
        let mut last = Failure::NoBackup;
        for point in self.newest(|point| point.whole_cluster && self.has_been(&point.cluster)) {
            let restored = async {
                let archive = self.archive(&point.cluster, progress.clone()).await?;
                Ok(recovery.salvage_cluster(&spec, &point.backup, self.at, &archive).await?)
            };
            match restored.await {
                Ok(Salvaged { restored: Restored { identity, version, newest }, lost }) => {
                    self.serves(ClusterRestored { identity, version, newest, lost: lost.clone() }).await?;
                    let reached = Reached { newest, lost };
                    let all = self.instances().into_iter();
                    return Ok(all.map(|instance| (instance, Ok(reached.clone()))).collect());
                }
                Err(failure) => last = self.passed_over(point, failure),
            }
        }
        let reason = chain(&last);
        Ok(self.all(|| match &last {
            Failure::NoBackup => Failure::NoBackup,
            _ => Failure::Engine(EngineError::transient(reason.clone())),
        }))
    }

    /// Makes the cluster anew, and then each instance on it from a backup of its own.
    async fn one_by_one(
        &self,
        engine: &dyn Engine,
        recovery: &dyn Recovery,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Outcome>, SubmitError> {
        let spec = ClusterSpec { identity: None, ..spec(self.cluster) };
        let started = match engine.start(&spec).await {
            Ok(started) => started,
            Err(error) => {
                let reason = chain(&error);
                return Ok(self.all(|| Failure::Engine(EngineError::transient(reason.clone()))));
            }
        };
        let mut outcomes = Vec::new();
        for instance in self.instances() {
            let outcome = self.instance(engine, recovery, &spec, &instance, progress.clone()).await;
            outcomes.push((instance, outcome));
        }
        let newest = outcomes.iter().filter_map(|(_, outcome)| Some(outcome.as_ref().ok()?.newest)).max();
        let newest = newest.unwrap_or(Timestamp::EPOCH);
        self.serves(ClusterRestored { identity: started.identity, version: started.version, newest, lost: None })
            .await?;
        Ok(outcomes)
    }

    async fn instance(
        &self,
        engine: &dyn Engine,
        recovery: &dyn Recovery,
        spec: &ClusterSpec,
        instance: &Instance,
        progress: Arc<dyn Progress>,
    ) -> Result<Reached, Failure> {
        let wanted = instance_spec(instance);
        let mut last = Failure::NoBackup;
        for point in self.newest(|point| holds(point, &instance.id)) {
            let restored = async {
                engine.provision(spec, &wanted).await?;
                let archive = self.archive(&point.cluster, progress.clone()).await?;
                let backup = &point.backup;
                Ok(recovery
                    .restore_instance(spec, &wanted, &instance.id, backup, self.until(recovery), &archive)
                    .await?)
            };
            match restored.await {
                Ok(Restored { newest, .. }) => return Ok(Reached { newest, lost: None }),
                Err(failure) => last = self.passed_over(point, failure),
            }
        }
        Err(last)
    }

    fn until(&self, recovery: &dyn Recovery) -> Until {
        match self.at {
            Some(at) if recovery.has_log() => Until::Time(at),
            _ => Until::Latest,
        }
    }

    /// Whether a cluster is this one, or one that who lives here has moved from.
    fn has_been(&self, cluster: &ClusterName) -> bool {
        let moved_from = |instance: &Arc<Instance>| instance.former.contains(cluster);
        *cluster == self.cluster.name || self.view.instances_on(&self.cluster.name).any(moved_from)
    }

    /// The newest points of a kind, the newest first.
    fn newest(&self, of: impl Fn(&PointDocument) -> bool) -> impl Iterator<Item = &PointDocument> {
        self.points.iter().rev().filter(move |point| of(point)).take(TRIES)
    }

    fn passed_over(&self, point: &PointDocument, failure: Failure) -> Failure {
        let (cluster, backup) = (&self.cluster.name, &point.id);
        tracing::error!(%cluster, %backup, error = chain(&failure), "a backup brings nothing back, and an older one is tried");
        failure
    }

    async fn archive(&self, cluster: &ClusterName, progress: Arc<dyn Progress>) -> Result<Archive, DepotError> {
        let log = self.control.catalogues().of(self.depot, cluster);
        Ok(Archive { plane: self.depot.plane().await?, log, progress })
    }

    async fn serves(&self, restored: ClusterRestored) -> Result<(), SubmitError> {
        self.submit(ClusterRestoration { cluster: self.cluster.name.clone(), restored }).await
    }

    async fn submit(&self, command: impl Into<Command>) -> Result<(), SubmitError> {
        self.control.submit(Actor::System, command).await.map(drop)
    }
}

/// Whether an instance was backed up by itself there.
fn holds(point: &PointDocument, instance: &InstanceId) -> bool {
    !point.whole_cluster && point.instances.iter().any(|held| held.id == *instance)
}
