//! What a cluster itself needs.

use mainstay_types::{Health, Observation};

use super::{Plan, Step};
use crate::command::{ClusterDegradation, ClusterRecovery};
use crate::view::{Cluster, ClusterState};

/// Plans for the cluster; answers whether it serves, so that work on it makes sense.
pub(super) fn plan(plan: &mut Plan, cluster: &Cluster, observed: Option<&Observation>) -> bool {
    let Some(observed) = observed else { return false };
    match &observed.health {
        Health::Down { cause } => {
            plan.steps.push(Step::Start { cause: cause.clone() });
            false
        }
        Health::Unresponsive { reason } => {
            degraded(plan, cluster, reason);
            false
        }
        // It serves, and the journal does not know it yet: starting it again finds it running and says so.
        Health::Serving | Health::Hindered { .. } if cluster.state == ClusterState::Requested => {
            plan.steps.push(Step::Start { cause: "it was found running".to_owned() });
            false
        }
        // What there is to do may be what ends the hindrance: revoking, deleting.
        Health::Hindered { reason } => {
            degraded(plan, cluster, reason);
            if cluster.state == ClusterState::Failed {
                recovered(plan, cluster);
            }
            reconfigure(plan, observed);
            true
        }
        Health::Serving => {
            if cluster.state != ClusterState::Ready {
                recovered(plan, cluster);
            }
            reconfigure(plan, observed);
            true
        }
    }
}

fn degraded(plan: &mut Plan, cluster: &Cluster, reason: &str) {
    if cluster.state == ClusterState::Ready {
        let degradation = ClusterDegradation { cluster: cluster.name.clone(), reason: reason.to_owned() };
        plan.steps.push(Step::Report(degradation.into()));
    }
}

fn recovered(plan: &mut Plan, cluster: &Cluster) {
    plan.steps.push(Step::Report(ClusterRecovery { cluster: cluster.name.clone() }.into()));
}

fn reconfigure(plan: &mut Plan, observed: &Observation) {
    if !observed.changed_settings.is_empty() {
        plan.steps.push(Step::Reconfigure { changes: observed.changed_settings.clone() });
    }
}
