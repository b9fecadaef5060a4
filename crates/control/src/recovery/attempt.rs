//! One piece of recovery work, carried out: the engine acts, and what came of it returns as a command.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mainstay_dataplane::{ServeError, Verify};
use mainstay_domain::command::{
    BackupDone, BackupExpiry, BackupFailure, ClusterRestoration, Command, RestoreDone, RestoreFailure,
};
use mainstay_domain::event::{Actor, BackupCompleted, ClusterRestored, RestoreCompleted, Until as Asked};
use mainstay_domain::plan::Work;
use mainstay_domain::view::{Cluster, ClusterState, Instance, InstanceState, Restoring, View};
use mainstay_engine::recovery::{Archive, Backup, Progress, Recovery, Restored, Scope, Until};
use mainstay_engine::{ClusterSpec, Engine, EngineError};
use mainstay_types::{BackupId, ClusterName, InstanceId, Sequence, Timestamp, chain};
use tokio::time::Instant;

use super::depot::{Depot, DepotError};
use super::document::{Document, PointDocument, PointInstance};
use super::points;
use super::progress::Silent;
use super::room::NoRoom;
use super::sweep::Sweeper;
use crate::control::{Control, SubmitError, spec};
use crate::credentials::instance_spec;
use crate::draw::draw_id;

/// The kind of the documents of recovery points.
pub(super) const POINTS: &str = "points";

/// The longest that any one piece of work takes: a day is what the largest cluster needs over a slow line, and what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);
/// How long a restore waits until nothing else is done to the cluster.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);

/// What work is carried out with.
pub(super) struct Attempt {
    pub(super) control: Control,
    pub(super) depot: Arc<dyn Depot>,
    pub(super) sweeper: Sweeper,
    /// Whoever asked for the work can watch it.
    pub(super) progress: Arc<dyn Progress>,
}

/// How work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// What came of it is on record.
    Recorded,
    /// It can not be done now, and is tried again one day.
    Postponed,
}

/// Why work did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error("what was done so far is not on record, and nothing is done beyond it")]
    Submit(#[from] SubmitError),
    #[error(
        "backup {backup} can not be read whole, and what is left of the cluster is left as it is; restore an older one"
    )]
    Damaged {
        backup: BackupId,
        #[source]
        source: ServeError,
    },
    #[error("backup {0} is not in the repository any more; see which are there with: mainstay backups")]
    Gone(BackupId),
    #[error(
        "instance {0} shares the cluster and has no backup: what is left of its data would be lost; delete it first"
    )]
    Unprotected(String),
    #[error("something else is being done to cluster {cluster}, and has not ended within {} s", CLUSTER_PATIENCE.as_secs())]
    Busy { cluster: ClusterName },
    #[error("it did not end within {} hours", PATIENCE.as_secs() / 3_600)]
    Endless,
    #[error("cluster {0} can not be made to serve; ask once more, and the whole cluster is brought back")]
    NotServing(ClusterName),
    #[error("it is not in the journal any more")]
    Vanished,
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// What is to be worked on.
pub(super) struct Site {
    pub(super) instance: Arc<Instance>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) view: Arc<View>,
}

impl Attempt {
    /// Carries work out and records what came of it. Begun anew after any crash it leads to the same end.
    pub(super) async fn carry_out(&self, work: &Work) -> Result<Ended, SubmitError> {
        match work {
            Work::BackUp { instance, whole_cluster, .. } => {
                let _no_sweep = self.sweeper.keep_away().await;
                match in_time(self.back_up(instance, *whole_cluster)).await {
                    Ok(done) => {
                        let backup = done.completed.backup.clone();
                        self.report(done).await?;
                        self.remove_nobodys(&backup).await;
                    }
                    Err(failure) => {
                        let reason = chain(&failure);
                        tracing::warn!(%instance, reason, "a backup did not come about");
                        self.report(BackupFailure { instance: instance.clone(), reason }).await?;
                    }
                }
            }
            Work::Restore { instance } => match in_time(self.restore(instance)).await {
                Ok(done) => self.report(done).await?,
                Err(failure) => {
                    let reason = chain(&failure);
                    tracing::warn!(%instance, reason, "a restore did not come about");
                    self.report(RestoreFailure { instance: instance.clone(), reason }).await?;
                }
            },
            Work::Drill { instance } => {
                if let Some(done) = self.drill(instance).await {
                    self.report(done).await?;
                }
            }
            Work::Expire { backup } => return self.expire(backup).await,
        }
        Ok(Ended::Recorded)
    }

    async fn back_up(&self, id: &InstanceId, whole_cluster: bool) -> Result<BackupDone, Failure> {
        let (site, asked_until) = (self.site(id)?, Timestamp::now());
        let completed = self.back_up_site(&site, whole_cluster).await?;
        Ok(BackupDone { instance: id.clone(), asked_until, completed })
    }

    /// Removes a backup that did not come on record since what it holds was deleted meanwhile: no plan would ever do that.
    async fn remove_nobodys(&self, backup: &BackupId) {
        if self.control.view().point(backup).is_none()
            && let Err(error) = self.depot.remove(POINTS, backup.as_str()).await
        {
            tracing::warn!(%backup, error = chain(&error), "a backup of what is deleted could not be removed");
        }
    }

    /// Takes a backup and says in the depot what it is; only then it counts.
    async fn back_up_site(&self, site: &Site, whole_cluster: bool) -> Result<BackupCompleted, Failure> {
        let covered = |other: &&Arc<Instance>| {
            other.state == InstanceState::Ready && (whole_cluster || other.id == site.instance.id)
        };
        let instances: Vec<_> = site.view.instances_on(&site.cluster.name).filter(covered).cloned().collect();
        let specs: Vec<_> = instances.iter().map(|instance| instance_spec(instance)).collect();
        let archive = self.archive(&site.cluster.name).await?;
        let spec = spec(&site.cluster);
        let backup = recovery(&*site.engine)?.back_up(&spec, &specs, &archive).await?;
        let id = BackupId::from_random(draw_id());
        let completed = BackupCompleted {
            backup: id.clone(),
            cluster: spec.name.clone(),
            instance: (!whole_cluster).then(|| site.instance.id.clone()),
            engine: backup.engine.clone(),
            version: backup.version.clone(),
            began_at: backup.began_at,
            ended_at: backup.ended_at,
            bytes: backup.parts.iter().map(|part| part.size).sum(),
            uncovered: backup.uncovered.clone(),
            after: Some(self.control.view().sequence()),
        };
        let after = completed.after;
        let document = point_document(id.clone(), spec, &site.cluster, whole_cluster, &instances, backup, after);
        self.depot.put(POINTS, id.as_str(), document.to_bytes()).await?;
        Ok(completed)
    }

    /// Brings an instance, or its whole cluster, back; answers what is to be recorded.
    async fn restore(&self, id: &InstanceId) -> Result<RestoreDone, Failure> {
        let began = Instant::now();
        let site = self.site(id)?;
        let restoring = site.instance.recovery.restoring.clone().ok_or(Failure::Vanished)?;
        let alone = tokio::time::timeout(CLUSTER_PATIENCE, self.control.occupation().alone(&site.cluster.name)).await;
        let alone = alone.map_err(|_| Failure::Busy { cluster: site.cluster.name.clone() })?;
        let mut cluster = None;
        let newest = match (site.cluster.state == ClusterState::Failed, restoring.whole_cluster) {
            (true, false) => return Err(Failure::NotServing(site.cluster.name.clone())),
            (true, true) if !self.goes_back_alone(&site, &restoring)? => {
                let restored = self.restore_cluster(&site, &restoring).await?;
                cluster = Some(recorded_cluster(&restored));
                restored.newest
            }
            (true, true) => {
                // Others are on the cluster, and nobody asked them: all comes back as it was last, and then the one that was asked for
                // goes back by itself.
                let restored = recorded_cluster(&self.restore_all(&site, &restoring).await?);
                self.report(ClusterRestoration { cluster: site.cluster.name.clone(), restored }).await?;
                drop(alone);
                self.restore_instance(&self.site(id)?, &restoring).await?.newest
            }
            // The cluster serves, or serves again.
            (false, _) => {
                // What was begun has ended, and nothing is planned for the instance while it is restored: others go on.
                drop(alone);
                self.restore_instance(&site, &restoring).await?.newest
            }
        };
        let duration_milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let backup = restoring.backup.clone();
        let completed = RestoreCompleted { instance: id.clone(), backup, newest, duration_milliseconds };
        Ok(RestoreDone { completed, cluster })
    }

    /// Whether an instance on a lost cluster is wanted as it was earlier than the others on it.
    fn goes_back_alone(&self, site: &Site, restoring: &Restoring) -> Result<bool, Failure> {
        let as_one = recovery(&*site.engine)?.scope() == Scope::Cluster;
        let shared = site.view.instances_on(&site.cluster.name).count() > 1;
        Ok(as_one && shared && restoring.until != Asked::Latest)
    }

    /// Brings everybody on a lost cluster back as they were last.
    async fn restore_all(&self, site: &Site, restoring: &Restoring) -> Result<Restored, Failure> {
        let asked = Restoring { until: Asked::Latest, ..restoring.clone() };
        let Some(newest) = site.view.points_of(&site.instance).next_back().filter(|point| point.id != asked.backup)
        else {
            return self.restore_cluster(site, &asked).await;
        };
        match self.restore_cluster(site, &Restoring { backup: newest.id.clone(), ..asked.clone() }).await {
            Err(failure) => {
                let error = chain(&failure);
                tracing::warn!(backup = %newest.id, error, "a backup brings nothing back, and the one that was asked for is tried");
                self.restore_cluster(site, &asked).await
            }
            restored => restored,
        }
    }

    async fn restore_instance(&self, site: &Site, restoring: &Restoring) -> Result<Restored, Failure> {
        let recovery = recovery(&*site.engine)?;
        let in_place = restoring.origin == site.instance.id && site.instance.state == InstanceState::Ready;
        if in_place && !recovery.has_log() {
            // What is about to be replaced can be had back. A log has every moment of it anyway.
            let whole_cluster = recovery.scope() == Scope::Cluster;
            let _no_sweep = self.sweeper.keep_away().await;
            let asked_until = Timestamp::now();
            let completed = self.back_up_site(site, whole_cluster).await?;
            // Nothing is replaced before whoever wants it back can find it.
            self.report(BackupDone { instance: site.instance.id.clone(), asked_until, completed }).await?;
        }
        let point = self.point(&restoring.backup).await?;
        let archive = self.archive(&point.cluster).await?;
        let (spec, instance) = (spec(&site.cluster), instance_spec(&site.instance));
        let until = until(restoring.until);
        Ok(recovery.restore_instance(&spec, &instance, &restoring.origin, &point.backup, until, &archive).await?)
    }

    /// Lays a lost cluster out anew: as one, or, where instances are backed up one by one, empty first and then each of them.
    async fn restore_cluster(&self, site: &Site, restoring: &Restoring) -> Result<Restored, Failure> {
        let recovery = recovery(&*site.engine)?;
        if recovery.scope() == Scope::Cluster {
            let point = self.point(&restoring.backup).await?;
            let archive = self.archive(&point.cluster).await?;
            let spec = spec(&site.cluster);
            return Ok(recovery.restore_cluster(&spec, &point.backup, until(restoring.until), &archive).await?);
        }
        let wanted = |other: &&Arc<Instance>| other.state == InstanceState::Ready || other.id == site.instance.id;
        let on_it: Vec<_> = site.view.instances_on(&site.cluster.name).filter(wanted).cloned().collect();
        let mut points = Vec::new();
        for instance in on_it {
            let newest = site.view.points_of(&instance).next_back().map(|point| point.id.clone());
            let asked = (instance.id == site.instance.id).then(|| restoring.backup.clone());
            let backup = asked.or(newest).ok_or_else(|| Failure::Unprotected(instance.name.to_string()))?;
            let point = self.point(&backup).await?;
            self.look_through(recovery, &point).await?;
            points.push((instance, point));
        }
        let spec = ClusterSpec { identity: None, ..spec(&site.cluster) };
        site.engine.remove(&spec).await?;
        let started = site.engine.start(&spec).await?;
        let mut newest = Timestamp::EPOCH;
        for (instance, point) in points {
            let archive = self.archive(&point.cluster).await?;
            let wanted = instance_spec(&instance);
            site.engine.provision(&spec, &wanted).await?;
            let until = if instance.id == site.instance.id { until(restoring.until) } else { Until::Latest };
            let restored =
                recovery.restore_instance(&spec, &wanted, &instance.id, &point.backup, until, &archive).await?;
            if instance.id == site.instance.id {
                newest = restored.newest;
            }
        }
        Ok(Restored { identity: started.identity, version: started.version, newest })
    }

    /// Reads all that a backup holds. What is left of a cluster is removed only for what surely takes its place.
    async fn look_through(&self, recovery: &dyn Recovery, point: &PointDocument) -> Result<(), Failure> {
        let archive = self.archive(&point.cluster).await?;
        let parts = futures::stream::iter(point.backup.parts.iter().map(|part| Ok(part.address)));
        let mut contents = parts.chain(recovery.contents(&point.backup, &archive).await?);
        while let Some(address) = contents.next().await {
            let verified = archive.plane.verify_object(Verify { address: address?, key: None }).await;
            verified.map_err(|source| Failure::Damaged { backup: point.id.clone(), source })?;
        }
        Ok(())
    }

    /// Removes a backup's document, and then what nobody needs without it.
    async fn expire(&self, id: &BackupId) -> Result<Ended, SubmitError> {
        match self.depot.remove(POINTS, id.as_str()).await {
            Ok(true) => {}
            Ok(false) => return Ok(Ended::Postponed),
            Err(error) => {
                tracing::warn!(backup = %id, error = chain(&error), "a backup that is not kept could not be removed");
                return Ok(Ended::Postponed);
            }
        }
        let expired = self.control.view().point(id).cloned();
        self.report(BackupExpiry { backup: id.clone() }).await?;
        if let Some(expired) = expired
            && let Err(failure) = points::trim_log(&self.control, &self.depot, &expired.cluster, &expired.engine).await
        {
            // The oldest that is left may be damaged, and what is not trimmed is referred to.
            tracing::warn!(backup = %id, error = chain(&failure), "the log is trimmed with the next backup that goes");
        }
        match self.sweeper.sweep().await {
            Ok(contents) => tracing::info!(backup = %id, contents, "a backup that is not kept was removed"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(backup = %id, error, "what a backup took that is gone is given back with the next that goes");
            }
        }
        Ok(Ended::Recorded)
    }

    pub(super) fn site(&self, id: &InstanceId) -> Result<Site, Failure> {
        let view = self.control.view();
        let instance = view.instance_by_id(id).cloned().ok_or(Failure::Vanished)?;
        let cluster = view.cluster(&instance.cluster).cloned().ok_or(Failure::Vanished)?;
        let engine = self.control.engine(&cluster.engine).cloned().ok_or(Failure::Vanished)?;
        Ok(Site { instance, cluster, engine, view })
    }

    pub(super) async fn point(&self, id: &BackupId) -> Result<PointDocument, Failure> {
        let bytes = self.depot.get(POINTS, id.as_str()).await?.ok_or_else(|| Failure::Gone(id.clone()))?;
        Ok(PointDocument::from_bytes(id.as_str(), &bytes)?)
    }

    pub(super) async fn archive(&self, cluster: &ClusterName) -> Result<Archive, DepotError> {
        Ok(Archive { progress: self.progress.clone(), ..archive(&self.control, &self.depot, cluster).await? })
    }

    async fn report(&self, command: impl Into<Command>) -> Result<(), SubmitError> {
        self.control.submit(Actor::System, command).await.map(drop)
    }
}

/// What is kept of a cluster, as its engine sees it. Nobody watches what is done with it.
pub(super) async fn archive(
    control: &Control,
    depot: &Arc<dyn Depot>,
    cluster: &ClusterName,
) -> Result<Archive, DepotError> {
    let log = control.catalogues().of(depot, cluster);
    Ok(Archive { plane: depot.plane().await?, log, progress: Arc::new(Silent) })
}

pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| Failure::Endless)?
}

pub(super) fn recovery(engine: &dyn Engine) -> Result<&dyn Recovery, Failure> {
    engine.recovery().ok_or(Failure::Vanished)
}

fn recorded_cluster(restored: &Restored) -> ClusterRestored {
    let Restored { identity, version, newest } = restored.clone();
    ClusterRestored { identity, version, newest, lost: None }
}

fn until(asked: Asked) -> Until {
    match asked {
        Asked::Backup => Until::Backup,
        Asked::Latest => Until::Latest,
        Asked::Time(time) => Until::Time(time),
    }
}

fn point_document(
    id: BackupId,
    spec: ClusterSpec,
    cluster: &Cluster,
    whole_cluster: bool,
    instances: &[Arc<Instance>],
    backup: Backup,
    after: Option<Sequence>,
) -> PointDocument {
    let held = |instance: &Arc<Instance>| PointInstance {
        id: instance.id.clone(),
        tenant: instance.tenant.clone(),
        name: instance.name.clone(),
        environment: instance.environment.clone(),
        contract: instance.contract.clone(),
        parameters: instance.parameters.clone(),
    };
    PointDocument {
        id,
        cluster: spec.name,
        engine: cluster.engine.clone(),
        plan: spec.plan,
        node: spec.node,
        port: spec.port,
        parameters: spec.parameters,
        identity: spec.identity,
        whole_cluster,
        instances: instances.iter().map(held).collect(),
        backup,
        after,
    }
}
