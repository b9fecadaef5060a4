//! Plans: which steps a cluster needs, given what should be and what was seen.
//!
//! Planning changes nothing and remembers nothing. A step that fails is planned again by running the loop again; how
//! soon is the executor's business.

mod binding;
mod cluster;
mod instance;
mod moving;
mod recovery;

use mainstay_types::{BindingId, ClusterName, Generation, InstanceId, Observation, Timestamp};

pub use recovery::{RecoveryPlan, Work, plan_recovery};

use crate::command::Command;
use crate::view::{ClusterState, Instance, View};

/// What a cluster needs now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The earliest moment at which time alone makes another step necessary.
    pub next_due: Option<Timestamp>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the cluster serve.
    Start { cause: String },
    /// Bring its settings back.
    Reconfigure { changes: Vec<String> },
    /// Remove the cluster with all that is on it.
    Remove,
    /// Make an instance, or bring one back that has drifted.
    Provision { instance: InstanceId, repaired: Option<String> },
    /// Remove an instance with its data.
    Deprovision { instance: InstanceId },
    /// Make a credential work until a moment, or bring one back that has drifted.
    Bind { instance: InstanceId, binding: BindingId, generation: Generation, repaired: Option<String> },
    /// Remove a credential and end its sessions.
    Unbind { instance: InstanceId, binding: BindingId, generation: Generation },
    /// Let the cluster, which is to be an instance's, take over from the one that the instance lives on, or go on with that.
    Move { instance: InstanceId },
    /// Record what was seen, or what time has brought; no engine is needed for it.
    Report(Command),
}

/// What a step works on; no two steps work on the same thing at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The whole cluster: nothing else on it happens meanwhile.
    Cluster,
    /// One instance and its bindings.
    Instance(InstanceId),
    /// Nothing outside the journal.
    Journal,
}

impl Step {
    /// What the step works on.
    pub fn target(&self) -> Target {
        match self {
            Step::Start { .. } | Step::Reconfigure { .. } | Step::Remove | Step::Move { .. } => Target::Cluster,
            Step::Provision { instance, .. }
            | Step::Deprovision { instance }
            | Step::Bind { instance, .. }
            | Step::Unbind { instance, .. } => Target::Instance(instance.clone()),
            Step::Report(_) => Target::Journal,
        }
    }

    /// What it does, as people read it in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Start { .. } => "start",
            Step::Reconfigure { .. } => "reconfigure",
            Step::Remove => "remove",
            Step::Provision { .. } => "provision",
            Step::Deprovision { .. } => "deprovision",
            Step::Bind { .. } => "bind",
            Step::Unbind { .. } => "unbind",
            Step::Move { .. } => "move",
            Step::Report(_) => "report",
        }
    }
}

/// The steps that a cluster needs, given what its engine saw last; none where it was not looked at yet.
pub fn plan(view: &View, name: &ClusterName, observed: Option<&Observation>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(cluster) = view.cluster(name) else { return plan };
    if cluster.state == ClusterState::Retired {
        plan.steps.push(Step::Remove);
        return plan;
    }
    // It is laid out anew: until that is done there is nothing to look after.
    let rebuilt =
        |instance: &Instance| instance.recovery.restoring.as_ref().is_some_and(|restoring| restoring.whole_cluster);
    if view.instances_on(name).any(|instance| rebuilt(instance)) {
        return plan;
    }
    let serving = cluster::plan(&mut plan, cluster, observed);
    if let Some(instance) = view.instance_moving_to(name) {
        moving::plan(&mut plan, cluster, instance, serving);
    }
    for instance in view.instances_on(name) {
        instance::plan(&mut plan, view, instance, observed, serving);
        for binding in view.bindings_of(instance) {
            binding::plan(&mut plan, instance, binding, observed, serving, now);
        }
    }
    plan
}

impl Plan {
    fn due(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |earliest| earliest.min(at)));
    }
}
