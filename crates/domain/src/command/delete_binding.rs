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
        let events = revocation(context, binding, format!("{} asked for it", context.actor)).into_iter().collect();
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        let mut decision =
            self.request.begin(context, &self.tenant, OperationKind::DeleteBinding, subject.clone(), events);
        let abandoned = ("binding_not_ready", "the binding was deleted before it was ready");
        for kind in [OperationKind::CreateBinding, OperationKind::RotateBinding] {
            decision.events.extend(context.finish(view, &self.tenant, &subject, kind, Some(abandoned)));
        }
        Ok(decision)
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

/// The event that begins a binding's end, unless it has begun.
pub(super) fn revocation(context: &Context, binding: &Binding, cause: String) -> Option<NewEvent> {
    let subject = Subject::new(SubjectKind::Binding, &binding.id);
    (binding.state != BindingState::Revoking)
        .then(|| context.event(Some(binding.tenant.clone()), subject, BindingRevocationRequested { cause }))
}
