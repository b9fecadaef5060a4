//! What a binding and its credentials need.

use mainstay_types::{Observation, Presence, Timestamp};

use super::{Plan, Step};
use crate::command::BindingEnded;
use crate::view::{Binding, BindingState, Credential, Instance, InstanceState};

pub(super) fn plan(
    plan: &mut Plan,
    instance: &Instance,
    binding: &Binding,
    observed: Option<&Observation>,
    serving: bool,
    now: Timestamp,
) {
    match binding.state {
        BindingState::Revoking => {
            for credential in binding.credentials.iter().filter(|_| serving) {
                plan.steps.push(unbind(binding, credential));
            }
        }
        _ if binding.expires_at <= now => {
            plan.steps.push(Step::Report(BindingEnded { binding: binding.id.clone() }.into()));
        }
        BindingState::Failed => plan.due(binding.expires_at),
        BindingState::Requested | BindingState::Ready => {
            plan.due(binding.expires_at);
            for credential in &binding.credentials {
                if let Some(successor) = binding.successor(credential) {
                    // Its user name is the successor's. Once that one works, nothing is left of this one but its record.
                    if successor.applied.is_some() && serving {
                        plan.steps.push(unbind(binding, credential));
                    }
                    continue;
                }
                match credential.retire_at {
                    Some(at) if at <= now => {
                        if serving {
                            plan.steps.push(unbind(binding, credential));
                        }
                        continue;
                    }
                    Some(at) => plan.due(at),
                    None => {}
                }
                if serving && instance.state == InstanceState::Ready {
                    plan.steps.extend(bind(binding, credential, observed));
                }
            }
        }
    }
}

/// The step that makes a credential work as it should, unless it does.
fn bind(binding: &Binding, credential: &Credential, observed: Option<&Observation>) -> Option<Step> {
    let key = (binding.id.clone(), credential.generation);
    let seen = observed.and_then(|observed| observed.credentials.get(&key)).map(|seen| &seen.presence);
    let repaired = match seen {
        Some(Presence::Missing) => Some("the credential was missing in the engine".to_owned()),
        Some(Presence::Drifted { how }) => Some(how.clone()),
        Some(Presence::Present) | None => None,
    };
    let known = credential.applied == Some(binding.valid_until(credential));
    // What was never made is no repair, however the engine was seen.
    let repaired = repaired.filter(|_| credential.applied.is_some());
    (!known || repaired.is_some()).then(|| Step::Bind {
        instance: binding.instance_id.clone(),
        binding: binding.id.clone(),
        generation: credential.generation,
        repaired,
    })
}

fn unbind(binding: &Binding, credential: &Credential) -> Step {
    Step::Unbind {
        instance: binding.instance_id.clone(),
        binding: binding.id.clone(),
        generation: credential.generation,
    }
}
