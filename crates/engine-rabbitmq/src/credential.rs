//! Credentials: a user each, who may do everything in its instance's virtual host and nothing elsewhere.

use std::time::{Duration, Instant};

use mainstay_engine::{CredentialSpec, EngineError, InstanceSpec};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::api::{Api, failed};
use crate::names::virtual_host;
use crate::offering::Limits;
use crate::password::{self, ALGORITHM};
use crate::percent::encode;

/// How long the connections of a removed user may take to end. The node gives a client that does not answer 30 s, in which
/// it carries out nothing for it.
const CLOSING_PATIENCE: Duration = Duration::from_secs(40);
/// How often is looked whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug, Deserialize)]
struct Permission {
    vhost: String,
}

/// Makes a credential work, or puts right what somebody changed about it. Gives what its password is checked with.
pub(crate) async fn bind(
    api: &Api,
    instance: &InstanceSpec,
    credential: &CredentialSpec,
    password: &SecretString,
) -> Result<String, EngineError> {
    if credential.statements.is_some() {
        return Err(EngineError::permanent(
            "RabbitMQ has no statements that a credential could be made with",
            "create the binding or the role without statements",
        ));
    }
    let (user, host) = (credential.username(), virtual_host(&instance.id));
    let attempt = || failed(format!("credential {user} could not be made"));
    if api.find::<IgnoredAny>(&format!("vhosts/{host}?columns=name")).await.map_err(attempt())?.is_none() {
        return Err(EngineError::transient(format!("instance {} is not on the cluster", instance.id)));
    }
    let verifier = password::verifier(password::salt()?, password);
    let limits = Limits::of(&instance.parameters);
    let known = json!({ "password_hash": verifier, "hashing_algorithm": ALGORITHM, "tags": "" });
    let is_new = api.put(&format!("users/{user}"), &known).await.map_err(attempt())?;
    let limit = json!({ "value": limits.channels });
    let everything = json!({ "configure": ALL, "write": ALL, "read": ALL });
    let (limited, permitted) = (format!("user-limits/{user}/{CHANNELS}"), format!("permissions/{host}/{user}"));
    tokio::try_join!(api.put(&limited, &limit), api.put(&permitted, &everything)).map_err(attempt())?;
    if is_new {
        return Ok(verifier);
    }
    // What it is allowed elsewhere, somebody else gave it.
    let permissions: Vec<Permission> = api.get(&format!("users/{user}/permissions")).await.map_err(attempt())?;
    for strange in permissions.iter().filter(|permission| permission.vhost != host) {
        api.delete(&format!("permissions/{}/{user}", encode(&strange.vhost))).await.map_err(attempt())?;
    }
    Ok(verifier)
}

/// Removes a credential's user and waits until its sessions have ended.
pub(crate) async fn unbind(api: &Api, credential: &CredentialSpec) -> Result<(), EngineError> {
    let user = credential.username();
    let attempt = || failed(format!("credential {user} could not be removed"));
    // The node ends the sessions of a user that is deleted, and refuses what they still ask for from that moment.
    api.delete(&format!("users/{user}")).await.map_err(attempt())?;
    let sessions = format!("connections/username/{user}");
    let begin = Instant::now();
    loop {
        let open: Vec<IgnoredAny> = api.find(&sessions).await.map_err(attempt())?.unwrap_or_default();
        if open.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > CLOSING_PATIENCE {
            let open = open.len();
            return Err(EngineError::transient(format!("{open} sessions of credential {user} do not end")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The limit of a user's channels.
const CHANNELS: &str = "max-channels";

/// The expression that every name matches.
pub(crate) const ALL: &str = ".*";

/// What one user may have open.
pub(crate) fn user_limits(limits: &Limits) -> Value {
    json!({ CHANNELS: limits.channels })
}
