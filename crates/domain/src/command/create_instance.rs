//! Somebody wants an instance.

use std::collections::BTreeSet;

use mainstay_types::{
    ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId, InstanceName, NodeName, Offering, Parameters,
    Plan, TenantName,
};

use super::{Context, Decision, Rejection, Request, placement};
use crate::event::{ClusterRequested, InstanceRequested, NewEvent, OperationKind, Subject, SubjectKind};
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
        placement::check_parameters(offering, plan, &self.parameters)?;
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
            events.push(self.cluster_requested(view, context, offering, plan, &cluster)?);
        }
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        let requested = InstanceRequested {
            instance: self.id.clone(),
            environment: self.environment.clone().unwrap_or_else(EnvironmentName::default_environment),
            contract: self.contract.clone(),
            engine: offering.engine.clone(),
            plan,
            cluster,
            parameters: self.parameters.clone(),
        };
        events.push(context.event(Some(self.tenant.clone()), subject.clone(), requested));
        Ok((subject, events))
    }

    fn cluster_requested(
        &self,
        view: &View,
        context: &Context,
        offering: &Offering,
        plan: Plan,
        cluster: &ClusterName,
    ) -> Result<NewEvent, Rejection> {
        let (tenant, port, parameters) = match plan {
            Plan::Shared => (None, offering.shared_port, Parameters::default()),
            Plan::Dedicated => (
                Some(self.tenant.clone()),
                placement::free_port(view, context, &self.busy_ports)?,
                self.parameters.clone(),
            ),
        };
        let requested =
            ClusterRequested { engine: offering.engine.clone(), plan, node: NodeName::local(), port, parameters };
        Ok(context.event(tenant, Subject::new(SubjectKind::Cluster, cluster), requested))
    }
}
