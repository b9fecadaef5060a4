//! An instance is to be what it was, or a new one is to be what another was.

use std::collections::BTreeSet;

use mainstay_types::{BackupId, InstanceId, InstanceName, TenantName, Timestamp};

use super::{Context, CreateInstance, Decision, Rejection, Request, recoverable};
use crate::event::{OperationKind, RestoreRequested, Subject, SubjectKind, Until};
use crate::view::{ClusterState, Instance, RecoveryPoint, View};

/// Brings an instance back to a moment: in place, where its bindings stay valid, or as a new instance that has none. One that was
/// deleted comes back as a new instance.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreInstance {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
    pub at: RestoreTo,
    /// The instance that is made; none where it is restored in place, which takes one that is there.
    pub new: Option<NewInstance>,
}

/// The moment that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum RestoreTo {
    Latest,
    Time(Timestamp),
    Backup(BackupId),
}

/// What a restored copy is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstance {
    pub name: InstanceName,
    /// Freshly drawn.
    pub id: InstanceId,
    pub busy_ports: BTreeSet<u16>,
}

impl RestoreInstance {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let deleted = view.deleted_instance(&self.tenant, &self.name).filter(|_| self.new.is_some());
        let origin = match deleted {
            Some(deleted) => {
                recoverable::refuse_unkept(context, deleted)?;
                deleted
            }
            None => recoverable::instance(view, context, &self.tenant, &self.name)?,
        };
        let (point, until) = self.point(view, context, origin)?;
        let restore = |instance: &InstanceId, whole_cluster| RestoreRequested {
            instance: instance.clone(),
            origin: origin.id.clone(),
            backup: point.id.clone(),
            until,
            whole_cluster,
        };
        let (subject, mut events) = match &self.new {
            None => (Subject::new(SubjectKind::Instance, &self.name), Vec::new()),
            Some(new) => {
                let (subject, mut events) = self.copy_of(origin, new).events(view, context)?;
                let policy = origin.recovery.policy.as_change();
                events.extend(policy.map(|policy| context.event(Some(self.tenant.clone()), subject.clone(), policy)));
                (subject, events)
            }
        };
        let requested = match &self.new {
            None => restore(&origin.id, self.is_cluster_lost(view, origin)?),
            Some(new) => restore(&new.id, false),
        };
        events.push(context.event(Some(self.tenant.clone()), subject.clone(), requested));
        Ok(self.request.begin(context, &self.tenant, OperationKind::RestoreInstance, subject, events))
    }

    /// The backup to begin with, and how far to go from there.
    fn point<'a>(
        &self,
        view: &'a View,
        context: &Context,
        origin: &Instance,
    ) -> Result<(&'a RecoveryPoint, Until), Rejection> {
        let newest = view.points_of(origin).next_back().ok_or_else(|| {
            let name = self.name.clone();
            Rejection::NoRecoveryPoint { name }
        })?;
        let has_log = context.recovery.of(&origin.engine).is_some_and(|means| means.log);
        match &self.at {
            RestoreTo::Latest => {
                Ok((newest, origin.unwanted_since.filter(|_| has_log).map_or(Until::Latest, Until::Time)))
            }
            RestoreTo::Time(time) if origin.unwanted_since.is_some_and(|since| since < *time) => {
                Err(self.unreachable(view, origin, *time, has_log))
            }
            RestoreTo::Backup(id) => {
                let point = view.points_of(origin).find(|point| point.id == *id);
                Ok((point.ok_or_else(|| Rejection::BackupNotFound { id: id.clone() })?, Until::Backup))
            }
            RestoreTo::Time(time) => {
                let before = view.points_of(origin).rfind(|point| point.ended_at <= *time);
                match before {
                    Some(point) if has_log => Ok((point, Until::Time(*time))),
                    Some(point) if point.ended_at == *time => Ok((point, Until::Backup)),
                    _ => Err(self.unreachable(view, origin, *time, has_log)),
                }
            }
        }
    }

    fn unreachable(&self, view: &View, origin: &Instance, wanted: Timestamp, has_log: bool) -> Rejection {
        let moments = || view.points_of(origin).map(|point| point.ended_at);
        let (earliest, latest) = (moments().min(), moments().max());
        Rejection::TimeUnreachable { name: self.name.clone(), wanted, earliest, latest, has_log }
    }

    /// Whether the cluster has to be laid out anew as a whole, because it can not be made to serve any more.
    fn is_cluster_lost(&self, view: &View, origin: &Instance) -> Result<bool, Rejection> {
        let lost = view.cluster(&origin.cluster).is_some_and(|cluster| cluster.state == ClusterState::Failed);
        let restoring = view.instances_on(&origin.cluster).any(|other| other.recovery.restoring.is_some());
        if lost && restoring {
            return Err(Rejection::InstanceRestoring { name: self.name.clone() });
        }
        Ok(lost)
    }

    fn copy_of(&self, origin: &Instance, new: &NewInstance) -> CreateInstance {
        CreateInstance {
            request: self.request.clone(),
            tenant: self.tenant.clone(),
            name: new.name.clone(),
            contract: origin.contract.clone(),
            plan: Some(origin.plan),
            engine: Some(origin.engine.clone()),
            environment: Some(origin.environment.clone()),
            // What its policy has of them comes with that.
            parameters: origin.parameters.clone(),
            id: new.id.clone(),
            busy_ports: new.busy_ports.clone(),
        }
    }
}
