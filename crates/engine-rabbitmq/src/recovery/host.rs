//! What is in a virtual host beside messages: queues, exchanges, bindings, policies and parameters.

use std::sync::Arc;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{Removal, Removals};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, ApiError, failed};
use crate::credential::ALL;
use crate::names::{ADMIN, POLICY, is_credential};
use crate::percent::encode;

/// Parameters that the control plane makes for an instance, and that are not its owner's.
const OURS: [&str; 2] = ["operator_policy", "vhost-limits"];
/// What the names of virtual hosts begin with that a drill makes. No instance's does.
pub(super) const SCRATCH_PREFIX: &str = "s_";

/// A queue as it is declared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Queue {
    pub name: String,
    durable: bool,
    #[serde(default)]
    arguments: Value,
}

impl Queue {
    /// Its kind where its messages can not be read and left as they are: reading counts as a delivery in a quorum queue, which may drop
    /// a message that was delivered too often, and a stream can be read over its own protocol only.
    pub fn unreadable_kind(&self) -> Option<&str> {
        self.arguments["x-queue-type"].as_str().filter(|kind| *kind != "classic")
    }
}

/// What an owner has declared, as the node exports it.
pub(super) async fn definitions(api: &Api, host: &str) -> Result<Value, ApiError> {
    let mut all: Value = api.get(&format!("definitions/{host}")).await?;
    let keep = |list: &mut Value, keep: &dyn Fn(&Value) -> bool| {
        if let Some(list) = list.as_array_mut() {
            list.retain(keep);
        }
    };
    keep(&mut all["policies"], &|policy| policy["name"] != POLICY);
    keep(&mut all["parameters"], &|parameter| OURS.iter().all(|ours| parameter["component"] != *ours));
    Ok(all)
}

/// The queues of some definitions that outlive the node.
pub(super) fn durable_queues(definitions: &Value) -> Vec<Queue> {
    let queues = definitions["queues"].as_array().into_iter().flatten();
    let queues = queues.filter_map(|queue| serde_json::from_value::<Queue>(queue.clone()).ok());
    queues.filter(|queue| queue.durable).collect()
}

/// Declares all of it.
pub(super) async fn declare(api: &Api, host: &str, definitions: &Value) -> Result<(), EngineError> {
    let declared = api.post(&format!("definitions/{host}"), definitions).await;
    declared.map_err(failed("the definitions of the backup could not be imported"))
}

/// Removes all that is in a virtual host.
pub(super) async fn empty(api: &Api, host: &str) -> Result<(), EngineError> {
    let attempt = || failed("what is in the virtual host could not be removed");
    #[derive(Deserialize)]
    struct Named {
        name: String,
        #[serde(default)]
        vhost: String,
        #[serde(default)]
        component: String,
    }
    let all: Vec<Named> = api.get(&format!("queues/{host}?columns=name")).await.map_err(attempt())?;
    for queue in all {
        api.delete(&format!("queues/{host}/{}", encode(&queue.name))).await.map_err(attempt())?;
    }
    let all: Vec<Named> = api.get(&format!("exchanges/{host}?columns=name")).await.map_err(attempt())?;
    for exchange in all.iter().filter(|exchange| !exchange.name.is_empty() && !exchange.name.starts_with("amq.")) {
        api.delete(&format!("exchanges/{host}/{}", encode(&exchange.name))).await.map_err(attempt())?;
    }
    let all: Vec<Named> = api.get(&format!("policies/{host}")).await.map_err(attempt())?;
    for policy in all.iter().filter(|policy| policy.name != POLICY) {
        api.delete(&format!("policies/{host}/{}", encode(&policy.name))).await.map_err(attempt())?;
    }
    let all: Vec<Named> = api.get("parameters").await.map_err(attempt())?;
    let owners = all.iter().filter(|found| found.vhost == host && !OURS.contains(&found.component.as_str()));
    for Named { name, component, .. } in owners {
        let path = format!("parameters/{}/{host}/{}", encode(component), encode(name));
        api.delete(&path).await.map_err(attempt())?;
    }
    Ok(())
}

/// The users of bindings that may come into a virtual host.
pub(super) async fn users(api: &Api, host: &str) -> Result<Vec<String>, ApiError> {
    #[derive(Deserialize)]
    struct Permission {
        user: String,
    }
    let permissions: Vec<Permission> = api.get(&format!("vhosts/{host}/permissions")).await?;
    Ok(permissions.into_iter().map(|found| found.user).filter(|user| is_credential(user)).collect())
}

/// Lets users in.
pub(super) async fn let_in(api: &Api, host: &str, users: &[String]) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Known {}
    for user in users {
        // One that was removed since stays so.
        if api.find::<Known>(&format!("users/{user}")).await?.is_some() {
            permit(api, host, user).await?;
        }
    }
    Ok(())
}

/// Lets users in no more, and ends all sessions.
pub(super) async fn shut_out(api: &Api, host: &str, users: &[String]) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Connection {
        name: String,
    }
    for user in users {
        api.delete(&format!("permissions/{host}/{user}")).await?;
    }
    let open: Vec<Connection> = api.get(&format!("vhosts/{host}/connections?disable_stats=true")).await?;
    for connection in open {
        api.delete(&format!("connections/{}", encode(&connection.name))).await?;
    }
    Ok(())
}

/// Ourselves within a virtual host: who administers a node may not read its messages otherwise.
pub(super) async fn come_in(api: &Arc<Api>, host: &str, removals: &Removals) -> Result<Removal, EngineError> {
    let leaving = removals.at_end({
        let (api, path) = (api.clone(), format!("permissions/{host}/{ADMIN}"));
        async move {
            if let Err(error) = api.delete(&path).await {
                tracing::warn!(%path, %error, "a permission of ours is left");
            }
        }
    });
    match permit(api, host, ADMIN).await {
        Ok(()) => Ok(leaving),
        Err(error) => {
            leaving.now().await;
            Err(failed("the messages may not be read")(error))
        }
    }
}

async fn permit(api: &Api, host: &str, user: &str) -> Result<(), ApiError> {
    let everything = json!({ "configure": ALL, "write": ALL, "read": ALL });
    api.put(&format!("permissions/{host}/{user}"), &everything).await.map(drop)
}
