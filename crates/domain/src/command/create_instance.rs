//! Somebody wants an instance.

use std::collections::BTreeSet;

use mainstay_types::{
    ASSERTIONS_PARAMETER, Assertion, Assertions, ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId,
    InstanceName, NodeName, Offering, Parameters, Plan, TenantName,
};

use super::set_recovery_policy::check_assertions;
use super::{Context, Decision, Rejection, Request, placement};
use crate::event::{
    ClusterRequested, InstanceRequested, NewEvent, OperationKind, RecoveryPolicyChanged, Subject, SubjectKind,
};
use crate::view::{InstanceState, View};

/// Makes an instance, and the cluster it is to live on where that does not exist yet.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateInstance {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
    pub contract: ContractRef,
    pub plan: Option<Plan>,
    pub engine: Option<EngineName>,
    pub environment: Option<EnvironmentName>,
    pub parameters: Parameters,
    /// The instance's id, freshly drawn.
    pub id: InstanceId,
    /// Ports on which something outside the layer listens now, so that no dedicated cluster is given one of them.
    pub busy_ports: BTreeSet<u16>,
}

impl CreateInstance {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let (subject, events) = self.events(view, context)?;
        Ok(self.request.begin(context, &self.tenant, OperationKind::CreateInstance, subject, events))
    }

    /// The events that the instance, and its cluster where there is none, come from.
    pub(super) fn events(&self, view: &View, context: &Context) -> Result<(Subject, Vec<NewEvent>), Rejection> {
        let offering = placement::offering(context, &self.contract, self.engine.as_ref())?;
        let plan = placement::plan(offering, self.plan)?;
        let (parameters, assertions) = self.split_parameters()?;
        placement::check_parameters(offering, plan, &parameters)?;
        if let Some(instance) = view.instance(&self.tenant, &self.name) {
            let name = self.name.clone();
            return Err(match instance.state {
                InstanceState::Deleting => Rejection::InstanceDeleting { name },
                _ => Rejection::InstanceExists { name },
            });
        }
        if view.instance_by_id(&self.id).is_some() {
            return Err(Rejection::IdTaken);
        }

        let cluster = match plan {
            Plan::Shared => ClusterName::shared(&offering.engine),
            Plan::Dedicated => ClusterName::dedicated(&offering.engine, &self.id),
        };
        let mut events = Vec::new();
        if view.cluster(&cluster).is_none() {
            events.push(self.cluster_requested(view, context, offering, plan, &cluster, &parameters)?);
        }
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        let requested = InstanceRequested {
            instance: self.id.clone(),
            environment: self.environment.clone().unwrap_or_else(EnvironmentName::default_environment),
            contract: self.contract.clone(),
            engine: offering.engine.clone(),
            plan,
            cluster,
            parameters,
        };
        events.push(context.event(Some(self.tenant.clone()), subject.clone(), requested));
        if !assertions.is_empty() {
            let policy = RecoveryPolicyChanged { assertions, ..RecoveryPolicyChanged::default() };
            events.push(context.event(Some(self.tenant.clone()), subject.clone(), policy));
        }
        Ok((subject, events))
    }

    /// The engine's parameters, and what the recovery policy has of the others: there they are kept, and there they are changed.
    fn split_parameters(&self) -> Result<(Parameters, Vec<Assertion>), Rejection> {
        let (parameters, text) = self.parameters.clone().without(ASSERTIONS_PARAMETER);
        let Some(text) = text else { return Ok((parameters, Vec::new())) };
        let read = text.parse::<Assertions>().map_err(|error| error.to_string());
        let checked = read.and_then(|Assertions(all)| check_assertions(&all).map(|()| all));
        let invalid =
            |expected| Rejection::InvalidParameter { name: ASSERTIONS_PARAMETER.to_owned(), value: text, expected };
        checked.map(|assertions| (parameters, assertions)).map_err(invalid)
    }

    fn cluster_requested(
        &self,
        view: &View,
        context: &Context,
        offering: &Offering,
        plan: Plan,
        cluster: &ClusterName,
        parameters: &Parameters,
    ) -> Result<NewEvent, Rejection> {
        let (tenant, port, parameters) = match plan {
            Plan::Shared => (None, offering.shared_port, Parameters::default()),
            Plan::Dedicated => {
                (Some(self.tenant.clone()), placement::free_port(view, context, &self.busy_ports)?, parameters.clone())
            }
        };
        let requested =
            ClusterRequested { engine: offering.engine.clone(), plan, node: NodeName::local(), port, parameters };
        Ok(context.event(tenant, Subject::new(SubjectKind::Cluster, cluster), requested))
    }
}
