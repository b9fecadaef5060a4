//! A consumer's access ends.

use std::sync::Arc;

use mainstay_types::{BindingId, TenantName};

use super::{Context, Decision, Rejection, Request};
use crate::event::{BindingRevocationRequested, NewEvent, OperationKind, Subject, SubjectKind};
use crate::view::{Binding, BindingState, View};

/// Revokes a binding: its credentials stop working and its sessions end.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteBinding {
    pub request: Request,
    pub tenant: TenantName,
    pub id: BindingId,
}

impl DeleteBinding {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let binding = own_binding(view, &self.tenant, &self.id)?;
        let events = revocation(view, context, binding, format!("{} asked for it", context.actor));
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        Ok(self.request.begin(context, &self.tenant, OperationKind::DeleteBinding, subject, events))
    }
}

/// A tenant's own binding. To one tenant the bindings of another do not exist.
pub(super) fn own_binding<'a>(
    view: &'a View,
    tenant: &TenantName,
    id: &BindingId,
) -> Result<&'a Arc<Binding>, Rejection> {
    view.binding(id)
        .filter(|binding| binding.tenant == *tenant)
        .ok_or_else(|| Rejection::BindingNotFound { id: id.clone() })
}

/// The events that begin a binding's end, unless it has begun: what was being made for it is given up.
pub(super) fn revocation(view: &View, context: &Context, binding: &Binding, cause: String) -> Vec<NewEvent> {
    if binding.state == BindingState::Revoking {
        return Vec::new();
    }
    let subject = Subject::new(SubjectKind::Binding, &binding.id);
    let requested = BindingRevocationRequested { cause };
    let mut events = vec![context.event(Some(binding.tenant.clone()), subject.clone(), requested)];
    let abandoned = Some(("binding_not_ready", "the binding was deleted before the work was done"));
    for kind in [OperationKind::CreateBinding, OperationKind::RotateBinding] {
        events.extend(context.finish(view, &binding.tenant, &subject, kind, abandoned));
    }
    events
}
