//! Reports about backups, restores and drills.

use mainstay_types::{BackupId, ClusterName, InstanceId, Timestamp};

use crate::command::{Context, Decision, Rejection};
use crate::event::{
    BackupCompleted, BackupExpired, BackupFailed, BackupOrphaned, Body, ClusterRestored, DrillFailed, DrillPassed,
    NewEvent, OperationKind, OperationSucceeded, RestoreCompleted, RestoreFailed, Subject, SubjectKind,
};
use crate::view::{Instance, InstanceState, View};

/// A backup is whole. It was taken for one instance; whoever waits for one of the same cluster has it too.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupDone {
    pub instance: InstanceId,
    /// Whoever asked until then is served by it: what was written before is in it.
    pub asked_until: Timestamp,
    pub completed: BackupCompleted,
}

/// A backup did not come about.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupFailure {
    pub instance: InstanceId,
    pub reason: String,
}

/// A backup is not in the repository any more.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupExpiry {
    pub backup: BackupId,
}

/// A backup is in the repository that is nobody's who is there.
#[derive(Debug, Clone, PartialEq)]
pub struct OrphanFound {
    pub backup: BackupId,
}

/// A cluster was laid out anew and serves.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRestoration {
    pub cluster: ClusterName,
    pub restored: ClusterRestored,
}

/// An instance is what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreDone {
    pub completed: RestoreCompleted,
    /// Its cluster, where that was laid out anew and nobody was told yet: on record with this, it is not laid out once more.
    pub cluster: Option<ClusterRestored>,
}

/// An instance could not be brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreFailure {
    pub instance: InstanceId,
    pub reason: String,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq)]
pub enum DrillDone {
    Passed(DrillPassed),
    Failed(DrillFailed),
}

impl BackupDone {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        // Of a whole cluster it is everybody's on it, whoever was deleted meanwhile. Else it is nobody's any more.
        let whole = self.completed.instance.is_none();
        let another = || view.instances_on(&self.completed.cluster).find(|_| whole);
        let Some(instance) = view.instance_by_id(&self.instance).or_else(another) else {
            return Ok(Decision::nothing());
        };
        // Whoever looks for backups that nobody recorded may have been faster. Who waits for this one is told all the same.
        let unknown = view.point(&self.completed.backup).is_none();
        let mut events: Vec<_> =
            unknown.then(|| event(context, instance, self.completed.clone())).into_iter().collect();
        let detail =
            Some(format!("backup {} holds everything until {}", self.completed.backup, self.completed.ended_at));
        let succeeded: Body = OperationSucceeded { detail }.into();
        for waiting in view.instances_on(&instance.cluster) {
            let held = self.completed.instance.as_ref().is_none_or(|held| *held == waiting.id);
            if !held {
                continue;
            }
            let subject = Subject::new(SubjectKind::Instance, &waiting.name);
            let kind = OperationKind::CreateBackup;
            // Who asked after it began wants what was written since, too.
            let early = |operation: &&std::sync::Arc<crate::view::Operation>| {
                operation.kind == kind && operation.created_at <= self.asked_until
            };
            let ended = view.active_operations(&waiting.tenant, &subject).filter(early);
            events.extend(ended.map(|operation| {
                let subject = Subject::new(SubjectKind::Operation, &operation.id);
                context.event(Some(waiting.tenant.clone()), subject, succeeded.clone())
            }));
        }
        Ok(Decision::of(events))
    }
}

impl BackupFailure {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = view.instance_by_id(&self.instance) else { return Ok(Decision::nothing()) };
        let failed = BackupFailed { instance: instance.id.clone(), reason: self.reason.clone(), at: Some(context.now) };
        let mut events = vec![event(context, instance, failed)];
        events.extend(ended(
            view,
            context,
            instance,
            OperationKind::CreateBackup,
            Err(("backup_failed", &self.reason)),
        ));
        Ok(Decision::of(events))
    }
}

impl BackupExpiry {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let point = view.point(&self.backup);
        if point.is_none() && view.orphaned_at(&self.backup).is_none() {
            return Ok(Decision::nothing());
        }
        let cluster = point.and_then(|point| view.cluster(&point.cluster));
        let tenant = cluster.and_then(|cluster| cluster.tenant.clone());
        let expired = BackupExpired { backup: self.backup.clone() };
        Ok(Decision::of(vec![context.event(tenant, Subject::new(SubjectKind::Backup, &self.backup), expired)]))
    }
}

impl OrphanFound {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if view.point(&self.backup).is_some() || view.orphaned_at(&self.backup).is_some() {
            return Ok(Decision::nothing());
        }
        let orphaned = BackupOrphaned { backup: self.backup.clone() };
        Ok(Decision::of(vec![context.event(None, Subject::new(SubjectKind::Backup, &self.backup), orphaned)]))
    }
}

impl ClusterRestoration {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = view.cluster(&self.cluster) else { return Ok(Decision::nothing()) };
        let subject = Subject::new(SubjectKind::Cluster, &cluster.name);
        Ok(Decision::of(vec![context.event(cluster.tenant.clone(), subject, self.restored.clone())]))
    }
}

impl RestoreDone {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let restoring = restoring(view, &self.completed.instance);
        let cluster =
            view.instance_by_id(&self.completed.instance).and_then(|instance| view.cluster(&instance.cluster));
        let mut events: Vec<_> = cluster
            .zip(self.cluster.clone())
            .map(|(cluster, restored)| {
                let subject = Subject::new(SubjectKind::Cluster, &cluster.name);
                context.event(cluster.tenant.clone(), subject, restored)
            })
            .into_iter()
            .collect();
        let Some(instance) = restoring else { return Ok(Decision::of(events)) };
        events.push(event(context, instance, self.completed.clone()));
        let detail = format!("it holds everything until {}", self.completed.newest);
        events.extend(ended(view, context, instance, OperationKind::RestoreInstance, Ok(detail)));
        Ok(Decision::of(events))
    }
}

impl RestoreFailure {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = restoring(view, &self.instance) else { return Ok(Decision::nothing()) };
        let failed = RestoreFailed { instance: instance.id.clone(), reason: self.reason.clone() };
        let mut events = vec![event(context, instance, failed)];
        let failure = Err(("restore_failed", self.reason.as_str()));
        events.extend(ended(view, context, instance, OperationKind::RestoreInstance, failure));
        Ok(Decision::of(events))
    }
}

impl DrillDone {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let (id, body, outcome): (_, Body, _) = match self {
            Self::Passed(passed) => {
                let (recovery, loss) = (passed.recovery_time_milliseconds, passed.loss_milliseconds);
                let detail = format!("it came back in {recovery} ms and {loss} ms of changes were missing");
                (&passed.instance, passed.clone().into(), Ok(detail))
            }
            Self::Failed(failed) => {
                (&failed.instance, failed.clone().into(), Err(("drill_failed", failed.reason.as_str())))
            }
        };
        let Some(instance) = view.instance_by_id(id) else { return Ok(Decision::nothing()) };
        let mut events = vec![event(context, instance, body)];
        events.extend(ended(view, context, instance, OperationKind::RunDrill, outcome));
        Ok(Decision::of(events))
    }
}

fn restoring<'a>(view: &'a View, id: &InstanceId) -> Option<&'a Instance> {
    let instance = view.instance_by_id(id).filter(|instance| instance.state != InstanceState::Deleting)?;
    instance.recovery.restoring.is_some().then_some(&**instance)
}

fn event(context: &Context, instance: &Instance, body: impl Into<Body>) -> NewEvent {
    context.event(Some(instance.tenant.clone()), Subject::new(SubjectKind::Instance, &instance.name), body)
}

/// The events that end the operations of a kind on an instance.
fn ended(
    view: &View,
    context: &Context,
    instance: &Instance,
    kind: OperationKind,
    outcome: Result<String, (&'static str, &str)>,
) -> Vec<NewEvent> {
    let subject = Subject::new(SubjectKind::Instance, &instance.name);
    match outcome {
        Ok(detail) => {
            let succeeded = OperationSucceeded { detail: Some(detail) }.into();
            context.finish_with(view, &instance.tenant, &subject, kind, &succeeded)
        }
        Err(failure) => context.finish(view, &instance.tenant, &subject, kind, Some(failure)),
    }
}
