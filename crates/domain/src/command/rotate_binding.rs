//! A binding is to get a new credential while the old one still works.

use std::sync::Arc;

use mainstay_types::{BindingId, TenantName};

use super::delete_binding::own_binding;
use super::{Context, DEFAULT_OVERLAP_SECONDS, Decision, MAX_LEASE_SECONDS, Rejection, Request};
use crate::event::{BindingRotationRequested, OperationKind, Subject, SubjectKind};
use crate::view::{Binding, BindingState, InstanceState, View};

/// Gives a binding a new credential; the present one works on until the overlap ends.
#[derive(Debug, Clone, PartialEq)]
pub struct RotateBinding {
    pub request: Request,
    pub tenant: TenantName,
    pub id: BindingId,
    /// How long the old credential works on; [`DEFAULT_OVERLAP_SECONDS`] where nothing is said.
    pub overlap_seconds: Option<u64>,
}

impl RotateBinding {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let overlap_seconds = match self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS) {
            seconds @ 0..=MAX_LEASE_SECONDS => seconds,
            seconds => return Err(Rejection::InvalidOverlap { seconds }),
        };
        let binding = rotatable(view, &self.tenant, &self.id)?;
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        let requested =
            BindingRotationRequested { generation: binding.newest_generation() + 1, overlap_seconds, login: None };
        let events = vec![context.event(Some(self.tenant.clone()), subject.clone(), requested)];
        Ok(self.request.begin(context, &self.tenant, OperationKind::RotateBinding, subject, events))
    }
}

/// A tenant's own binding that can be given another credential now.
pub(super) fn rotatable<'a>(
    view: &'a View,
    tenant: &TenantName,
    id: &BindingId,
) -> Result<&'a Arc<Binding>, Rejection> {
    let binding = own_binding(view, tenant, id)?;
    let being_made = binding.credentials.last().is_some_and(|credential| credential.applied.is_none());
    let state = match binding.state {
        BindingState::Ready if being_made => "being rotated already",
        BindingState::Ready => "",
        BindingState::Requested => "not ready yet",
        BindingState::Failed => "failed",
        BindingState::Revoking => "being revoked",
    };
    if !state.is_empty() {
        return Err(Rejection::BindingNotReady { id: id.clone(), state });
    }
    let Some(instance) = view.instance_by_id(&binding.instance_id) else { return Ok(binding) };
    let name = instance.name.clone();
    // Nothing is made on an instance that has failed, and whoever asked would wait for ever.
    if instance.state == InstanceState::Failed {
        return Err(Rejection::InstanceFailed { name, reason: instance.reason.clone().unwrap_or_default() });
    }
    if instance.moving.is_some() {
        return Err(Rejection::InstanceMoving { name });
    }
    Ok(binding)
}
