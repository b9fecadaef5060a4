//! Reports about instances.

use mainstay_types::InstanceId;

use crate::command::{Context, Decision, Rejection};
use crate::event::{
    BindingFailed, BindingRevoked, Body, InstanceDeleted, InstanceFailed, InstanceReady, InstanceRepaired, NewEvent,
    OperationKind, Subject, SubjectKind,
};
use crate::view::{Instance, InstanceState, View};

/// An instance exists on its cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceProvisioned {
    pub instance: InstanceId,
    /// What had been found wrong, when this was a repair.
    pub repaired: Option<String>,
}

/// An instance can not be provided until a person acts.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceFailure {
    pub instance: InstanceId,
    pub reason: String,
}

/// A deleted instance and its data are gone.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRemoved {
    pub instance: InstanceId,
}

impl InstanceProvisioned {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = view.instance_by_id(&self.instance) else { return Ok(Decision::nothing()) };
        let id = instance.id.clone();
        let body: Body = match (instance.state, &self.repaired) {
            (InstanceState::Requested, _) => InstanceReady { instance: id }.into(),
            (InstanceState::Ready, Some(cause)) => InstanceRepaired { instance: id, cause: cause.clone() }.into(),
            _ => return Ok(Decision::nothing()),
        };
        let mut events = vec![event(context, instance, body)];
        events.extend(finish(view, context, instance, OperationKind::CreateInstance, None));
        Ok(Decision::of(events))
    }
}

impl InstanceFailure {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = view.instance_by_id(&self.instance) else { return Ok(Decision::nothing()) };
        if matches!(instance.state, InstanceState::Failed | InstanceState::Deleting) {
            return Ok(Decision::nothing());
        }
        let failed = InstanceFailed { instance: instance.id.clone(), reason: self.reason.clone() };
        let mut events = vec![event(context, instance, failed)];
        let failure = Some(("instance_failed", self.reason.as_str()));
        for kind in [OperationKind::CreateInstance, OperationKind::RestoreInstance] {
            events.extend(finish(view, context, instance, kind, failure));
        }
        // Credentials that were still to be made on it never will be: whoever waits reads the reason.
        for binding in view.bindings_of(instance).filter(|binding| binding.is_live()) {
            let subject = Subject::new(SubjectKind::Binding, &binding.id);
            if binding.current().is_none() {
                let failed = BindingFailed { reason: self.reason.clone() };
                events.push(context.event(Some(instance.tenant.clone()), subject.clone(), failed));
            }
            for kind in [OperationKind::CreateBinding, OperationKind::RotateBinding] {
                events.extend(context.finish(view, &instance.tenant, &subject, kind, failure));
            }
        }
        Ok(Decision::of(events))
    }
}

impl InstanceRemoved {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(instance) = view.instance_by_id(&self.instance) else { return Ok(Decision::nothing()) };
        let mut events = Vec::new();
        // Bindings that never got a credential have nothing to be removed step by step; they end here.
        for binding in view.bindings_of(instance) {
            let subject = Subject::new(SubjectKind::Binding, &binding.id);
            events.push(context.event(Some(instance.tenant.clone()), subject.clone(), BindingRevoked {}));
            events.extend(context.finish(view, &instance.tenant, &subject, OperationKind::DeleteBinding, None));
        }
        events.push(event(context, instance, InstanceDeleted { instance: instance.id.clone() }));
        events.extend(finish(view, context, instance, OperationKind::DeleteInstance, None));
        Ok(Decision::of(events))
    }
}

fn event(context: &Context, instance: &Instance, body: impl Into<Body>) -> NewEvent {
    context.event(Some(instance.tenant.clone()), Subject::new(SubjectKind::Instance, &instance.name), body)
}

fn finish(
    view: &View,
    context: &Context,
    instance: &Instance,
    kind: OperationKind,
    failure: Option<(&'static str, &str)>,
) -> Vec<NewEvent> {
    let subject = Subject::new(SubjectKind::Instance, &instance.name);
    context.finish(view, &instance.tenant, &subject, kind, failure)
}
