//! Reports about instances that move.

use mainstay_types::{ClusterName, InstanceId};

use crate::command::{Context, Decision, Rejection};
use crate::event::{
    ClusterRetired, InstanceMoveFailed, InstanceMoved, NewEvent, OperationKind, OperationSucceeded, Subject,
    SubjectKind,
};
use crate::view::{Cluster, Instance, View};

/// A cluster has taken over from the one that an instance lived on.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveCompleted {
    pub instance: InstanceId,
    pub cluster: ClusterName,
    /// For how long writes waited.
    pub write_pause_milliseconds: u64,
}

/// A cluster will not take over, and the one that the instance lives on serves its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveFailure {
    pub instance: InstanceId,
    pub cluster: ClusterName,
    pub reason: String,
}

impl MoveCompleted {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = moving(view, &self.instance, &self.cluster) else { return Ok(Decision::nothing()) };
        let (Some(old), Some(new)) = (view.cluster(&instance.cluster), view.cluster(&self.cluster)) else {
            return Ok(Decision::nothing());
        };
        let moved = InstanceMoved {
            instance: instance.id.clone(),
            from_engine: old.engine.clone(),
            engine: new.engine.clone(),
            from_cluster: old.name.clone(),
            cluster: new.name.clone(),
            port: old.port,
            write_pause_milliseconds: self.write_pause_milliseconds,
        };
        let subject = Subject::new(SubjectKind::Instance, &instance.name);
        // The instance leaves before its cluster is retired: nothing that is on a retired cluster stays.
        let mut events =
            vec![context.event(Some(instance.tenant.clone()), subject.clone(), moved), retired(context, old)];
        let detail = Some(format!("writes waited for {} ms", self.write_pause_milliseconds));
        let succeeded = OperationSucceeded { detail }.into();
        events.extend(context.finish_with(view, &instance.tenant, &subject, OperationKind::MoveInstance, &succeeded));
        Ok(Decision::of(events))
    }
}

impl MoveFailure {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = moving(view, &self.instance, &self.cluster) else { return Ok(Decision::nothing()) };
        Ok(Decision::of(failed(view, context, instance, &self.cluster, &self.reason)))
    }
}

/// The events that end a move where it began.
pub(super) fn failed(
    view: &View,
    context: &Context,
    instance: &Instance,
    cluster: &ClusterName,
    reason: &str,
) -> Vec<NewEvent> {
    let subject = Subject::new(SubjectKind::Instance, &instance.name);
    let failed = InstanceMoveFailed { instance: instance.id.clone(), reason: reason.to_owned() };
    let mut events = vec![context.event(Some(instance.tenant.clone()), subject.clone(), failed)];
    events.extend(view.cluster(cluster).map(|cluster| retired(context, cluster)));
    let failure = Some(("move_failed", reason));
    events.extend(context.finish(view, &instance.tenant, &subject, OperationKind::MoveInstance, failure));
    events
}

/// The instance that is still to live on a cluster.
fn moving<'a>(view: &'a View, id: &InstanceId, cluster: &ClusterName) -> Option<&'a Instance> {
    view.instance_by_id(id).map(|instance| &**instance).filter(|instance| instance.moving.as_ref() == Some(cluster))
}

fn retired(context: &Context, cluster: &Cluster) -> NewEvent {
    context.event(cluster.tenant.clone(), Subject::new(SubjectKind::Cluster, &cluster.name), ClusterRetired {})
}
