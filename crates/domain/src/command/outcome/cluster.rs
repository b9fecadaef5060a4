//! Reports about clusters.

use mainstay_types::ClusterName;

use super::moved;
use crate::command::{Context, Decision, Rejection};
use crate::event::{
    BindingRevoked, Body, ClusterDegraded, ClusterDeleted, ClusterFailed, ClusterReady, ClusterRecovered,
    EngineReconfigured, EngineRestarted, EngineStarted, InstanceDeleted, NewEvent, OperationKind, Subject, SubjectKind,
};
use crate::view::{Cluster, ClusterState, InstanceState, View};

/// A cluster was made to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStart {
    pub cluster: ClusterName,
    pub identity: String,
    pub version: String,
    pub outcome: StartOutcome,
}

/// How a cluster came to serve.
#[derive(Debug, Clone, PartialEq)]
pub enum StartOutcome {
    /// Its process ran already.
    Adopted,
    /// It did not run, and how that came about nobody saw; or it had never run.
    Started,
    /// Its process was seen to end unasked.
    Restarted { cause: String, downtime_milliseconds: u64 },
}

/// A cluster does not serve as it should.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterDegradation {
    pub cluster: ClusterName,
    pub reason: String,
}

/// A cluster serves again without having been started.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRecovery {
    pub cluster: ClusterName,
}

/// A cluster can not be made to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFailure {
    pub cluster: ClusterName,
    pub reason: String,
}

/// A retired cluster is gone, and with it all that was on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRemoval {
    pub cluster: ClusterName,
}

/// Settings changed by another hand were brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconfigured {
    pub cluster: ClusterName,
    pub changes: Vec<String>,
}

impl ClusterStart {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = present(view, &self.cluster) else { return Ok(Decision::nothing()) };
        let version = self.version.clone();
        let body: Body = match (&self.outcome, cluster.state) {
            _ if cluster.identity.is_none() => ClusterReady { identity: self.identity.clone(), version }.into(),
            (StartOutcome::Adopted, ClusterState::Ready) => return Ok(Decision::nothing()),
            (StartOutcome::Adopted, _) => ClusterRecovered { cause: "its process was found serving".to_owned() }.into(),
            (StartOutcome::Started, _) => EngineStarted { version }.into(),
            (StartOutcome::Restarted { cause, downtime_milliseconds }, _) => {
                EngineRestarted { cause: cause.clone(), downtime_milliseconds: *downtime_milliseconds, version }.into()
            }
        };
        Ok(Decision::of(vec![event(context, cluster, body)]))
    }
}

impl ClusterDegradation {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = present(view, &self.cluster) else { return Ok(Decision::nothing()) };
        let known = cluster.reason.as_deref() == Some(self.reason.as_str());
        // A failed cluster stays failed until it serves: another fault of the same kind is no news.
        if known || cluster.state == ClusterState::Failed {
            return Ok(Decision::nothing());
        }
        Ok(Decision::of(vec![event(context, cluster, ClusterDegraded { reason: self.reason.clone() })]))
    }
}

impl ClusterRecovery {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let troubled = |cluster: &&Cluster| matches!(cluster.state, ClusterState::Degraded | ClusterState::Failed);
        let Some(cluster) = present(view, &self.cluster).filter(troubled) else { return Ok(Decision::nothing()) };
        let recovered = ClusterRecovered { cause: "it answers again".to_owned() };
        Ok(Decision::of(vec![event(context, cluster, recovered)]))
    }
}

impl ClusterFailure {
    /// Ends the operations that wait for the cluster too: whoever waits reads the reason instead of waiting on.
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = present(view, &self.cluster) else { return Ok(Decision::nothing()) };
        let mut events = Vec::new();
        if cluster.state != ClusterState::Failed || cluster.reason.as_deref() != Some(self.reason.as_str()) {
            events.push(event(context, cluster, ClusterFailed { reason: self.reason.clone() }));
        }
        // One that never served has copied nothing, and the instance that was to move to it stays. Once it served, only its
        // engine knows whether it has taken over.
        if let Some(instance) = view.instance_moving_to(&self.cluster).filter(|_| cluster.identity.is_none()) {
            events.extend(moved::failed(view, context, instance, &self.cluster, &self.reason));
        }
        let failure = Some(("cluster_failed", self.reason.as_str()));
        for instance in view.instances_on(&self.cluster) {
            let subject = Subject::new(SubjectKind::Instance, &instance.name);
            if instance.state == InstanceState::Requested {
                for kind in [OperationKind::CreateInstance, OperationKind::RestoreInstance] {
                    events.extend(context.finish(view, &instance.tenant, &subject, kind, failure));
                }
            }
            for binding in view.bindings_of(instance) {
                let subject = Subject::new(SubjectKind::Binding, &binding.id);
                for kind in [OperationKind::CreateBinding, OperationKind::RotateBinding] {
                    events.extend(context.finish(view, &instance.tenant, &subject, kind, failure));
                }
            }
        }
        Ok(Decision::of(events))
    }
}

impl ClusterRemoval {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = view.cluster(&self.cluster) else { return Ok(Decision::nothing()) };
        let mut events = Vec::new();
        for instance in view.instances_on(&self.cluster) {
            let tenant = Some(instance.tenant.clone());
            for binding in view.bindings_of(instance) {
                let subject = Subject::new(SubjectKind::Binding, &binding.id);
                events.push(context.event(tenant.clone(), subject.clone(), BindingRevoked {}));
                events.extend(context.finish(view, &instance.tenant, &subject, OperationKind::DeleteBinding, None));
            }
            let subject = Subject::new(SubjectKind::Instance, &instance.name);
            let deleted = InstanceDeleted { instance: instance.id.clone() };
            events.push(context.event(tenant, subject.clone(), deleted));
            events.extend(context.finish(view, &instance.tenant, &subject, OperationKind::DeleteInstance, None));
        }
        events.push(event(context, cluster, ClusterDeleted {}));
        Ok(Decision::of(events))
    }
}

impl Reconfigured {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(cluster) = present(view, &self.cluster) else { return Ok(Decision::nothing()) };
        Ok(Decision::of(vec![event(context, cluster, EngineReconfigured { changes: self.changes.clone() })]))
    }
}

/// A cluster that is meant to serve.
fn present<'a>(view: &'a View, name: &ClusterName) -> Option<&'a Cluster> {
    view.cluster(name).map(|cluster| &**cluster).filter(|cluster| cluster.state != ClusterState::Retired)
}

fn event(context: &Context, cluster: &Cluster, body: impl Into<Body>) -> NewEvent {
    context.event(cluster.tenant.clone(), Subject::new(SubjectKind::Cluster, &cluster.name), body)
}
