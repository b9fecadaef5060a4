//! A consumer wants access to an instance.

use mainstay_types::{BindingId, ConsumerName, InstanceName, TenantName};

use super::{
    Context, DEFAULT_LEASE_SECONDS, Decision, MAX_LEASE_SECONDS, MAX_STATEMENTS, MAX_STATEMENTS_BYTES, Rejection,
    Request,
};
use crate::event::{BindingRequested, OperationKind, Subject, SubjectKind};
use crate::view::{InstanceState, View};

/// Makes credentials for one consumer of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateBinding {
    pub request: Request,
    pub tenant: TenantName,
    pub instance: InstanceName,
    pub consumer: ConsumerName,
    /// How long it is to last; [`DEFAULT_LEASE_SECONDS`] where nothing is said.
    pub lease_seconds: Option<u64>,
    /// The binding's id, freshly drawn.
    pub id: BindingId,
    /// What its credentials are allowed, as SQL with `{{name}}` for the user's name; all that the instance's owner is
    /// where nothing is said. It is in the journal for ever, and holds no secret.
    pub statements: Option<Vec<String>>,
}

impl CreateBinding {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let lease_seconds = lease(self.lease_seconds)?;
        self.check_statements()?;
        let instance = view
            .instance(&self.tenant, &self.instance)
            .ok_or_else(|| Rejection::InstanceNotFound { name: self.instance.clone() })?;
        match instance.state {
            InstanceState::Requested | InstanceState::Ready => {}
            InstanceState::Deleting => return Err(Rejection::InstanceDeleting { name: self.instance.clone() }),
            InstanceState::Failed => {
                return Err(Rejection::InstanceFailed {
                    name: self.instance.clone(),
                    reason: instance.reason.clone().unwrap_or_default(),
                });
            }
        }
        if instance.moving.is_some() {
            return Err(Rejection::InstanceMoving { name: self.instance.clone() });
        }
        if view.binding(&self.id).is_some() {
            return Err(Rejection::IdTaken);
        }
        let subject = Subject::new(SubjectKind::Binding, &self.id);
        let requested = BindingRequested {
            instance: self.instance.clone(),
            instance_id: instance.id.clone(),
            consumer: self.consumer.clone(),
            lease_seconds,
            expires_at: context.now.plus_seconds(lease_seconds),
            statements: self.statements.clone(),
        };
        let events = vec![context.event(Some(self.tenant.clone()), subject.clone(), requested)];
        Ok(self.request.begin(context, &self.tenant, OperationKind::CreateBinding, subject, events))
    }

    /// Whether the statements fit into an event. What they say is for the engine to judge.
    fn check_statements(&self) -> Result<(), Rejection> {
        let Some(statements) = &self.statements else { return Ok(()) };
        let bytes = statements.iter().map(String::len).sum();
        if bytes > MAX_STATEMENTS_BYTES || statements.len() > MAX_STATEMENTS {
            return Err(Rejection::StatementsTooLong { count: statements.len(), bytes });
        }
        Ok(())
    }
}

/// The lease that is meant, if it is one that can be given.
pub(super) fn lease(wanted: Option<u64>) -> Result<u64, Rejection> {
    match wanted.unwrap_or(DEFAULT_LEASE_SECONDS) {
        seconds @ 1..=MAX_LEASE_SECONDS => Ok(seconds),
        seconds => Err(Rejection::InvalidLease { seconds }),
    }
}
