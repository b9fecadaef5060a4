//! Somebody wants an instance.

use std::collections::BTreeSet;

use mainstay_types::{
    ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId, InstanceName, NodeName, Offering, Parameters,
    Plan, TenantName,
};

use super::{Context, Decision, Rejection, Request};
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
        let offering = self.offering(context)?;
        let plan = self.plan(offering)?;
        self.check_parameters(offering, plan)?;
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
        Ok(self.request.begin(context, &self.tenant, OperationKind::CreateInstance, subject, events))
    }

    /// The offering that is asked for: the first of the contract where no engine is named.
    fn offering<'a>(&self, context: &'a Context) -> Result<&'a Offering, Rejection> {
        let of_contract: Vec<_> = context.offerings.iter().filter(|o| o.contract == self.contract).collect();
        if of_contract.is_empty() {
            let mut known: Vec<_> = context.offerings.iter().map(|offering| offering.contract.clone()).collect();
            known.dedup();
            return Err(Rejection::UnknownContract { contract: self.contract.clone(), known });
        }
        match &self.engine {
            None => Ok(of_contract[0]),
            Some(engine) => of_contract.iter().copied().find(|offering| offering.engine == *engine).ok_or_else(|| {
                Rejection::UnknownEngine {
                    engine: engine.clone(),
                    contract: self.contract.clone(),
                    known: of_contract.iter().map(|offering| offering.engine.clone()).collect(),
                }
            }),
        }
    }

    fn plan(&self, offering: &Offering) -> Result<Plan, Rejection> {
        match self.plan {
            Some(plan) if !offering.plans.contains(&plan) => {
                Err(Rejection::UnknownPlan { plan, engine: offering.engine.clone(), known: offering.plans.clone() })
            }
            Some(plan) => Ok(plan),
            None => Ok(offering.plans.first().copied().unwrap_or(Plan::Shared)),
        }
    }

    fn check_parameters(&self, offering: &Offering, plan: Plan) -> Result<(), Rejection> {
        let of_plan = || offering.parameters.iter().filter(move |spec| spec.plans.contains(&plan));
        for (name, value) in self.parameters.iter() {
            let spec = of_plan().find(|spec| spec.name == name).ok_or_else(|| Rejection::UnknownParameter {
                name: name.to_owned(),
                engine: offering.engine.clone(),
                plan,
                known: of_plan().map(|spec| spec.name).collect(),
            })?;
            spec.kind.check(value).map_err(|expected| Rejection::InvalidParameter {
                name: name.to_owned(),
                value: value.to_owned(),
                expected,
            })?;
        }
        Ok(())
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
            Plan::Dedicated => (Some(self.tenant.clone()), self.free_port(view, context)?, self.parameters.clone()),
        };
        let requested =
            ClusterRequested { engine: offering.engine.clone(), plan, node: NodeName::local(), port, parameters };
        Ok(context.event(tenant, Subject::new(SubjectKind::Cluster, cluster), requested))
    }

    /// The lowest port that neither a cluster nor anything else on the machine has.
    fn free_port(&self, view: &View, context: &Context) -> Result<u16, Rejection> {
        let allocated: BTreeSet<u16> = view.clusters().map(|cluster| cluster.port).collect();
        let ports = context.dedicated_ports.clone();
        ports
            .clone()
            .find(|port| !allocated.contains(port) && !self.busy_ports.contains(port))
            .ok_or(Rejection::PortsExhausted { first: *ports.start(), last: *ports.end() })
    }
}
