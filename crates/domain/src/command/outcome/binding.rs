//! Reports about bindings and their credentials.

use mainstay_types::{BindingId, Generation, Timestamp};

use crate::command::{Context, Decision, Rejection};
use crate::event::{
    BindingAdjusted, BindingCreated, BindingExpired, BindingFailed, BindingRepaired, BindingRevoked, BindingRotated,
    Body, CredentialRetired, NewEvent, OperationKind, Subject, SubjectKind,
};
use crate::view::{Binding, BindingState, View};

/// A credential works, until a moment that the engine knows too.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialApplied {
    pub binding: BindingId,
    pub generation: Generation,
    pub valid_until: Timestamp,
    /// What had been found wrong, when this was a repair.
    pub repaired: Option<String>,
}

/// The engine will not make a credential.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialRefused {
    pub binding: BindingId,
    pub generation: Generation,
    pub reason: String,
}

/// A credential no longer works and its sessions are ended.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialRemoved {
    pub binding: BindingId,
    pub generation: Generation,
}

/// A binding's lease has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingEnded {
    pub binding: BindingId,
}

impl CredentialApplied {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(binding) = view.binding(&self.binding).filter(|binding| binding.is_live()) else {
            return Ok(Decision::nothing());
        };
        let Some(credential) = binding.credential(self.generation) else { return Ok(Decision::nothing()) };
        let (generation, valid_until) = (self.generation, self.valid_until);
        let mut events = Vec::new();
        if credential.applied.is_some() {
            if let Some(cause) = &self.repaired {
                events.push(event(context, binding, BindingRepaired { generation, cause: cause.clone() }));
            }
            if credential.applied != Some(valid_until) {
                events.push(event(context, binding, BindingAdjusted { generation, valid_until }));
            }
        } else if binding.state == BindingState::Requested {
            let (instance, consumer) = (binding.instance.clone(), binding.consumer.clone());
            let created = BindingCreated { instance, consumer, generation, valid_until };
            events.push(event(context, binding, created));
            events.extend(finish(view, context, binding, OperationKind::CreateBinding, None));
        } else {
            let retire_previous_at = context.now.plus_seconds(credential.overlap_seconds);
            events.push(event(context, binding, BindingRotated { generation, valid_until, retire_previous_at }));
            events.extend(finish(view, context, binding, OperationKind::RotateBinding, None));
        }
        Ok(Decision::of(events))
    }
}

impl CredentialRefused {
    /// A binding without any working credential has failed; one whose rotation is refused goes on with what it has.
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(binding) = view.binding(&self.binding).filter(|binding| binding.is_live()) else {
            return Ok(Decision::nothing());
        };
        let failure = Some(("binding_failed", self.reason.as_str()));
        let mut events = Vec::new();
        if binding.current().is_none() {
            events.push(event(context, binding, BindingFailed { reason: self.reason.clone() }));
            events.extend(finish(view, context, binding, OperationKind::CreateBinding, failure));
        } else if binding.credential(self.generation).is_some_and(|credential| credential.applied.is_none()) {
            events.push(event(context, binding, CredentialRetired { generation: self.generation }));
            events.extend(finish(view, context, binding, OperationKind::RotateBinding, failure));
        }
        Ok(Decision::of(events))
    }
}

impl CredentialRemoved {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let Some(binding) = view.binding(&self.binding) else { return Ok(Decision::nothing()) };
        if binding.credential(self.generation).is_none() {
            return Ok(Decision::nothing());
        }
        let mut events = vec![event(context, binding, CredentialRetired { generation: self.generation })];
        if binding.state == BindingState::Revoking && binding.credentials.len() == 1 {
            events.push(event(context, binding, BindingRevoked {}));
            events.extend(finish(view, context, binding, OperationKind::DeleteBinding, None));
        }
        Ok(Decision::of(events))
    }
}

impl BindingEnded {
    pub(in crate::command) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let ended = |binding: &&std::sync::Arc<Binding>| {
            binding.state != BindingState::Revoking && binding.expires_at <= context.now
        };
        let Some(binding) = view.binding(&self.binding).filter(ended) else { return Ok(Decision::nothing()) };
        let mut events = vec![event(context, binding, BindingExpired {})];
        let failure = Some(("binding_expired", "the binding's lease ended before the work was done"));
        for kind in [OperationKind::CreateBinding, OperationKind::RotateBinding] {
            events.extend(finish(view, context, binding, kind, failure));
        }
        Ok(Decision::of(events))
    }
}

fn event(context: &Context, binding: &Binding, body: impl Into<Body>) -> NewEvent {
    context.event(Some(binding.tenant.clone()), Subject::new(SubjectKind::Binding, &binding.id), body)
}

fn finish(
    view: &View,
    context: &Context,
    binding: &Binding,
    kind: OperationKind,
    failure: Option<(&'static str, &str)>,
) -> Vec<NewEvent> {
    let subject = Subject::new(SubjectKind::Binding, &binding.id);
    context.finish(view, &binding.tenant, &subject, kind, failure)
}
