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
            let degradation = ClusterDegradation { cluster: cluster.name.clone(), reason: reason.clone() };
            if cluster.state == ClusterState::Ready {
                plan.steps.push(Step::Report(degradation.into()));
            }
            false
        }
        // It serves, and the journal does not know it yet: starting it again finds it running and says so.
        Health::Serving if cluster.state == ClusterState::Requested => {
            plan.steps.push(Step::Start { cause: "it was found running".to_owned() });
            false
        }
        Health::Serving => {
            if cluster.state != ClusterState::Ready {
                plan.steps.push(Step::Report(ClusterRecovery { cluster: cluster.name.clone() }.into()));
            }
            if !observed.changed_settings.is_empty() {
                plan.steps.push(Step::Reconfigure { changes: observed.changed_settings.clone() });
            }
            true
        }
    }
}
