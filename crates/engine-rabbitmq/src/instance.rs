//! Instances: a virtual host each, with limits and policies of ours.

use mainstay_engine::{EngineError, InstanceSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, failed};
use crate::names::{NODE, POLICY, is_credential, virtual_host};
use crate::offering::Limits;

/// Makes an instance, or puts right what somebody changed about it: one request, and one that starts a virtual host which
/// stands still.
pub(crate) async fn provision(api: &Api, instance: &InstanceSpec) -> Result<(), EngineError> {
    let name = virtual_host(&instance.id);
    let attempt = || failed(format!("instance {} could not be provisioned", instance.id));
    api.post("definitions", &definitions(&name, &Limits::of(&instance.parameters))).await.map_err(attempt())?;
    api.post(&format!("vhosts/{name}/start/{NODE}"), &Value::Null).await.map_err(attempt())
}

/// Removes an instance's users, which ends their sessions, and then the instance with all its data.
pub(crate) async fn deprovision(api: &Api, instance: &InstanceSpec) -> Result<(), EngineError> {
    #[derive(Deserialize)]
    struct Permission {
        user: String,
    }
    let name = virtual_host(&instance.id);
    let attempt = || failed(format!("instance {} could not be removed", instance.id));
    let permissions: Option<Vec<Permission>> =
        api.find(&format!("vhosts/{name}/permissions")).await.map_err(attempt())?;
    let Some(permissions) = permissions else { return Ok(()) };
    let users: Vec<String> =
        permissions.into_iter().map(|found| found.user).filter(|user| is_credential(user)).collect();
    if !users.is_empty() {
        api.post("users/bulk-delete", &json!({ "users": users })).await.map_err(attempt())?;
    }
    api.delete(&format!("vhosts/{name}")).await.map_err(attempt())
}

/// What a node imports to have the instance as it should be.
fn definitions(name: &str, limits: &Limits) -> Value {
    let policy = |definition: Value| json!({ "vhost": name, "name": POLICY, "pattern": PATTERN, "apply-to": APPLY_TO, "priority": 0, "definition": definition });
    let operator_policy = {
        let value =
            json!({ "pattern": PATTERN, "apply-to": APPLY_TO, "priority": 0, "definition": operator_policy(limits) });
        json!({ "vhost": name, "component": "operator_policy", "name": POLICY, "value": value })
    };
    let limits = json!({ "vhost": name, "component": "vhost-limits", "name": "limits", "value": vhost_limits(limits) });
    json!({
        "vhosts": [{ "name": name }],
        "parameters": [limits, operator_policy],
        "policies": [policy(default_policy())],
    })
}

/// The queues that our policies hold for: all.
pub(crate) const PATTERN: &str = ".*";
pub(crate) const APPLY_TO: &str = "queues";

/// The limits of a virtual host.
pub(crate) fn vhost_limits(limits: &Limits) -> Value {
    json!({ "max-connections": limits.connections, "max-queues": limits.queues })
}

/// What a queue of the instance may not exceed, whatever it was declared with.
pub(crate) fn operator_policy(limits: &Limits) -> Value {
    json!({ "max-length-bytes": limits.queue_bytes })
}

/// What a queue of the instance does where it was declared with nothing else: a full one refuses what is published.
/// Dropping the oldest message, which is RabbitMQ's own way, would lose what was confirmed.
pub(crate) fn default_policy() -> Value {
    json!({ "overflow": "reject-publish" })
}

#[cfg(test)]
mod tests {
    use super::{Limits, definitions};

    #[test]
    fn everything_of_an_instance_is_in_its_own_virtual_host() {
        let made = definitions("i_1", &Limits { connections: 1, channels: 2, queues: 3, queue_bytes: 4 });
        for kind in ["parameters", "policies"] {
            assert!(made[kind].as_array().unwrap().iter().all(|made| made["vhost"] == "i_1"), "{made}");
        }
        assert_eq!(made["parameters"][0]["value"]["max-queues"], 3);
        assert_eq!(made["parameters"][1]["value"]["definition"]["max-length-bytes"], 4);
    }
}
