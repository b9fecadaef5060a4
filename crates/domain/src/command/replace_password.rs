//! A binding is to get a new password under the user name that it has.

use mainstay_types::{BindingId, TenantName};

use super::rotate_binding::rotatable;
use super::{Context, Decision, Rejection, Request};
use crate::event::{BindingRotationRequested, OperationKind, Subject, SubjectKind};
use crate::view::{Credential, View};

/// Gives a binding a new password and leaves it its user name, for consumers that have the name in their settings.
///
/// An engine knows one password for a name: the old one stops working in the moment in which the new one begins to.
/// Sessions stay open. Consumers that can take a new name with each password are better off with
/// [`RotateBinding`](super::RotateBinding), which overlaps.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplacePassword {
    pub request: Request,
    pub tenant: TenantName,
    pub id: BindingId,
}

impl ReplacePassword {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let binding = rotatable(view, &self.tenant, &self.id)?;
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        let requested = BindingRotationRequested {
            generation: binding.newest_generation() + 1,
            overlap_seconds: 0,
            login: binding.current().map(Credential::login),
        };
        let events = vec![context.event(Some(self.tenant.clone()), subject.clone(), requested)];
        Ok(self.request.begin(context, &self.tenant, OperationKind::RotateBinding, subject, events))
    }
}
