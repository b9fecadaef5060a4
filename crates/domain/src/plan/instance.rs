//! What an instance needs.

use mainstay_types::{Observation, Presence};

use super::{Plan, Step};
use crate::command::InstanceFailure;
use crate::view::{Instance, InstanceState, View};

pub(super) fn plan(plan: &mut Plan, view: &View, instance: &Instance, observed: Option<&Observation>, serving: bool) {
    if !serving {
        return;
    }
    // What it is made of is being replaced. One that is new is made first.
    if instance.recovery.restoring.is_some() && instance.state != InstanceState::Requested {
        return;
    }
    let seen = observed.and_then(|observed| observed.instances.get(&instance.id));
    match instance.state {
        InstanceState::Requested => {
            plan.steps.push(Step::Provision { instance: instance.id.clone(), repaired: None });
        }
        InstanceState::Ready => match seen {
            Some(Presence::Drifted { how }) => {
                plan.steps.push(Step::Provision { instance: instance.id.clone(), repaired: Some(how.clone()) });
            }
            // Data was there once. Making the instance anew would pass an empty one off as it.
            Some(Presence::Missing) => {
                let reason = format!(
                    "its data is no longer on cluster {}; restore it from a backup, or delete it with: mainstay delete {}",
                    instance.cluster, instance.name
                );
                plan.steps.push(Step::Report(InstanceFailure { instance: instance.id.clone(), reason }.into()));
            }
            Some(Presence::Present) | None => {}
        },
        InstanceState::Deleting => {
            // Bindings first: their sessions end in order, and each end is on record.
            let bound = view.bindings_of(instance).any(|binding| !binding.credentials.is_empty());
            if !bound {
                plan.steps.push(Step::Deprovision { instance: instance.id.clone() });
            }
        }
        InstanceState::Failed => {}
    }
}
