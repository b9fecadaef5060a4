//! A binding is to last longer.

use mainstay_types::{BindingId, TenantName};

use super::create_binding::lease;
use super::delete_binding::own_binding;
use super::{Context, Decision, Rejection};
use crate::event::{BindingRenewed, Subject, SubjectKind};
use crate::view::View;

/// Begins a binding's lease anew.
#[derive(Debug, Clone, PartialEq)]
pub struct RenewBinding {
    pub tenant: TenantName,
    pub id: BindingId,
    /// The new lease from now on; as long as the last one where nothing is said.
    pub lease_seconds: Option<u64>,
}

impl RenewBinding {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let binding = own_binding(view, &self.tenant, &self.id)?;
        if !binding.is_live() {
            let state = "being revoked, or failed";
            return Err(Rejection::BindingNotReady { id: self.id.clone(), state });
        }
        let lease_seconds = lease(Some(self.lease_seconds.unwrap_or(binding.lease_seconds)))?;
        let renewed = BindingRenewed { lease_seconds, expires_at: context.now.plus_seconds(lease_seconds) };
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        Ok(Decision::of(vec![context.event(Some(self.tenant.clone()), subject, renewed)]))
    }
}
