//! An instance is to live on another cluster.

use std::collections::BTreeSet;

use mainstay_types::{ClusterName, EngineName, InstanceName, NodeName, Offering, Plan, TenantName};

use super::{Context, Decision, Rejection, Request, placement};
use crate::event::{ClusterRequested, InstanceMoveRequested, OperationKind, Subject, SubjectKind};
use crate::view::{Instance, InstanceState, View, VisibleState};

/// Moves an instance to a new cluster, of another engine that fulfils its contract or of its own in the version that is
/// installed now. It is used all the while, and its bindings are the same afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveInstance {
    pub request: Request,
    pub tenant: TenantName,
    pub name: InstanceName,
    /// The engine that it has where none is named.
    pub engine: Option<EngineName>,
    /// The plan that it has where none is named.
    pub plan: Option<Plan>,
    /// Ports on which something outside the layer listens now, so that the new cluster is given none of them.
    pub busy_ports: BTreeSet<u16>,
}

impl MoveInstance {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if let Some(decision) = self.request.replayed(view, &self.tenant)? {
            return Ok(decision);
        }
        let instance = view
            .instance(&self.tenant, &self.name)
            .ok_or_else(|| Rejection::InstanceNotFound { name: self.name.clone() })?;
        let engine = self.engine.as_ref().unwrap_or(&instance.engine);
        let offering = placement::offering(context, &instance.contract, Some(engine))?;
        let plan = placement::plan(offering, Some(self.plan.unwrap_or(instance.plan)))?;
        refuse_impossible(instance, offering, plan)?;
        placement::check_parameters(offering, plan, &instance.parameters)?;
        refuse_not_ready(view, instance)?;

        let cluster = ClusterName::moved_to(&offering.engine, &instance.id, view.sequence());
        let new = ClusterRequested {
            engine: offering.engine.clone(),
            plan,
            node: NodeName::local(),
            // Its own until it takes over the one that clients know.
            port: placement::free_port(view, context, &self.busy_ports)?,
            parameters: instance.parameters.clone(),
        };
        let moving = InstanceMoveRequested {
            instance: instance.id.clone(),
            engine: offering.engine.clone(),
            plan,
            cluster: cluster.clone(),
        };
        let tenant = Some(self.tenant.clone());
        let subject = Subject::new(SubjectKind::Instance, &self.name);
        let events = vec![
            context.event(tenant.clone(), Subject::new(SubjectKind::Cluster, &cluster), new),
            context.event(tenant, subject.clone(), moving),
        ];
        Ok(self.request.begin(context, &self.tenant, OperationKind::MoveInstance, subject, events))
    }
}

/// Refuses what no engine could do.
fn refuse_impossible(instance: &Instance, offering: &Offering, plan: Plan) -> Result<(), Rejection> {
    let impossible = |field, reason: String, remedy: &str| {
        Err(Rejection::MoveImpossible { name: instance.name.clone(), field, reason, remedy: remedy.to_owned() })
    };
    let by_hand = "create a new instance and move the data with the engine's own tools";
    if instance.plan != Plan::Dedicated {
        return impossible("plan", "it shares its cluster, and only a whole cluster is taken over".to_owned(), by_hand);
    }
    if plan != instance.plan {
        let reason = format!("its plan is {}, and a cluster is taken over by one of the same plan", instance.plan);
        return impossible("plan", reason, by_hand);
    }
    if !offering.follows.contains(&instance.engine) {
        let reason = format!("engine {} can not take over from {} while it is used", offering.engine, instance.engine);
        return impossible("engine", reason, by_hand);
    }
    Ok(())
}

/// Refuses an instance that does not serve, or that something else is being done with.
fn refuse_not_ready(view: &View, instance: &Instance) -> Result<(), Rejection> {
    let name = instance.name.clone();
    if instance.moving.is_some() {
        return Err(Rejection::InstanceMoving { name });
    }
    let cluster = view.cluster(&instance.cluster).map(|cluster| &**cluster);
    match (instance.state, instance.visible_state(cluster)) {
        (InstanceState::Deleting, _) => Err(Rejection::InstanceDeleting { name }),
        (_, (VisibleState::Failed, reason)) => {
            Err(Rejection::InstanceFailed { name, reason: reason.unwrap_or_default().to_owned() })
        }
        (_, (VisibleState::Ready, _)) => Ok(()),
        (_, (state, _)) => Err(Rejection::InstanceNotReady { name, state }),
    }
}
