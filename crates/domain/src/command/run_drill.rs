//! The newest recovery point of an instance is to be proven now.

use mainstay_types::{InstanceName, TenantName};

use super::{Context, Decision, Rejection, Request, recoverable};
use crate::event::{OperationKind, Subject, SubjectKind};
use crate::view::View;

/// Restores the newest recovery point of an instance into a scratch cluster and looks whether all is well.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDrill {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
}

impl RunDrill {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let instance = recoverable::instance(view, context, &self.tenant, &self.name)?;
        if view.points_of(instance).next().is_none() {
            return Err(Rejection::NoRecoveryPoint { name: self.name.clone() });
        }
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        Ok(self.request.begin(context, &self.tenant, OperationKind::RunDrill, subject, Vec::new()))
    }
}
