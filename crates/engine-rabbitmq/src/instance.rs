//! Instances: a virtual host each, with limits and policies of ours.

use mainstay_engine::{EngineError, InstanceSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, failed};
use crate::names::{NODE, POLICY, is_credential, virtual_host};
use crate::offering::Limits;

/// Makes an instance, or puts right what somebody changed about it, and starts a virtual host which stands still.
///
/// Each thing by a request of its own: what imports definitions does the same in one, and takes twice as long (RabbitMQ 3.10).
pub(crate) async fn provision(api: &Api, instance: &InstanceSpec) -> Result<(), EngineError> {
    let (name, limits) = (virtual_host(&instance.id), Limits::of(&instance.parameters));
    let attempt = || failed(format!("instance {} could not be provisioned", instance.id));
    api.put(&format!("vhosts/{name}"), &json!({})).await.map_err(attempt())?;
    let limited = json!({ "vhost": name, "component": "vhost-limits", "name": LIMITS, "value": vhost_limits(&limits) });
    let wanted = [
        (format!("parameters/vhost-limits/{name}/{LIMITS}"), limited),
        (format!("operator-policies/{name}/{POLICY}"), policy(operator_policy(&limits))),
        (format!("policies/{name}/{POLICY}"), policy(default_policy())),
    ];
    let put = futures::future::try_join_all(wanted.iter().map(|(path, body)| api.put(path, body)));
    let start = format!("vhosts/{name}/start/{NODE}");
    tokio::try_join!(put, api.post(&start, &Value::Null)).map(drop).map_err(attempt())
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

/// The name that the limits of a virtual host are kept under.
const LIMITS: &str = "limits";

/// A policy for all queues of a virtual host.
fn policy(definition: Value) -> Value {
    json!({ "pattern": PATTERN, "apply-to": APPLY_TO, "priority": 0, "definition": definition })
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
