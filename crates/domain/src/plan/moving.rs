//! What a cluster needs that an instance is moving to.

use super::{Plan, Step};
use crate::view::{Cluster, ClusterState, Instance};

pub(super) fn plan(plan: &mut Plan, cluster: &Cluster, instance: &Instance, serving: bool) {
    // Its settings are a copy's, and its port may be the one that it takes over already: the step sees to both.
    plan.steps.retain(|step| !matches!(step, Step::Reconfigure { .. }));
    // One that can not be made to serve does not take over, which the step finds out and says.
    if serving || (cluster.identity.is_some() && cluster.state == ClusterState::Failed) {
        plan.steps.push(Step::Move { instance: instance.id.clone() });
    }
}
