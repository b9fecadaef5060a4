//! Somebody wants an instance gone.

use mainstay_types::{InstanceName, Plan, TenantName};

use super::delete_binding::revocation;
use super::{Context, Decision, Rejection, Request};
use crate::event::{ClusterRetired, InstanceDeletionRequested, OperationKind, Subject, SubjectKind};
use crate::view::{InstanceState, View};

/// Deletes an instance with all its data.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteInstance {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
    /// Revoke its live bindings too. Without it their existence refuses the deletion.
    pub force: bool,
}

impl DeleteInstance {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let instance = view
            .instance(&self.tenant, &self.name)
            .ok_or_else(|| Rejection::InstanceNotFound { name: self.name.clone() })?;
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        if instance.state == InstanceState::Deleting {
            // Asked again: whoever asks watches the work that goes on already.
            let going_on = view.active_operations(&self.tenant, &subject);
            let operation = going_on.filter(|o| o.kind == OperationKind::DeleteInstance).map(|o| o.id.clone()).next();
            return Ok(Decision { events: Vec::new(), operation });
        }
        // Which of two clusters holds its data, only the end of the move tells.
        if instance.moving.is_some() {
            return Err(Rejection::InstanceMoving { name: self.name.clone() });
        }
        if instance.recovery.restoring.is_some() && instance.state == InstanceState::Ready {
            return Err(Rejection::InstanceRestoring { name: self.name.clone() });
        }
        let live = view.bindings_of(instance).filter(|binding| binding.is_live()).count();
        if live > 0 && !self.force {
            return Err(Rejection::InstanceHasBindings { name: self.name.clone(), count: live });
        }

        let mut events = Vec::new();
        for binding in view.bindings_of(instance) {
            events.extend(revocation(view, context, binding, format!("instance {} is deleted", self.name)));
        }
        let requested = InstanceDeletionRequested { instance: instance.id.clone(), forced: self.force };
        events.push(context.event(Some(self.tenant.clone()), subject.clone(), requested));
        if instance.plan == Plan::Dedicated {
            let cluster = Subject::new(SubjectKind::Cluster, &instance.cluster);
            events.push(context.event(Some(self.tenant.clone()), cluster, ClusterRetired {}));
        }
        let abandoned = ("instance_deleting", "the instance was deleted before that was done");
        for kind in [
            OperationKind::CreateInstance,
            OperationKind::CreateBackup,
            OperationKind::RestoreInstance,
            OperationKind::RunDrill,
        ] {
            events.extend(context.finish(view, &self.tenant, &subject, kind, Some(abandoned)));
        }
        Ok(self.request.begin(context, &self.tenant, OperationKind::DeleteInstance, subject, events))
    }
}
