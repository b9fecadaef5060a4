//! An instance is to be backed up now.

use mainstay_types::{InstanceName, TenantName};

use super::{Context, Decision, Rejection, Request, recoverable};
use crate::event::{OperationKind, Subject, SubjectKind};
use crate::view::View;

/// Backs an instance up, with its whole cluster where its engine does that. Asked again meanwhile, it waits for the same backup.
#[derive(Debug, Clone, PartialEq)]
pub struct BackUpInstance {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
}

impl BackUpInstance {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let instance = recoverable::instance(view, context, &self.tenant, &self.name)?;
        recoverable::refuse_not_serving(view, instance)?;
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        Ok(self.request.begin(context, &self.tenant, OperationKind::CreateBackup, subject, Vec::new()))
    }
}
