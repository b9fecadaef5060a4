//! Credentials: a user each.

use mainstay_engine::{ClusterSpec, CredentialSpec, EngineError, InstanceSpec};
use mainstay_types::Digest;
use redis::RedisError;
use secrecy::SecretString;

use crate::admin::{failed, hashed};
use crate::cluster::Cluster;
use crate::config::RedisConfig;
use crate::observe::{self, Wanted};
use crate::script;
use crate::{data, instance, user};

/// Makes a credential work, or brings it back; its sessions go on.
pub(crate) async fn bind(
    cluster: &Cluster,
    config: &RedisConfig,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
    credential: &CredentialSpec,
    password: &SecretString,
) -> Result<(), EngineError> {
    if credential.statements.is_some() {
        return Err(EngineError::permanent(
            format!("{} carries out no statements", config.flavour.name()),
            "bind without statements: a binding may all that its instance's owner may",
        ));
    }
    if data::is_instance_closed(&cluster.directory, &instance.id) {
        return Err(EngineError::permanent(
            format!("instance {} has half of its data, because a restore of it did not come to its end", instance.id),
            "restore it again",
        ));
    }
    let attempt = || failed(format!("binding {} could not be made", credential.binding));
    if !instance::exists(cluster, instance).await.map_err(attempt())? {
        return Err(EngineError::transient(format!("instance {} is not on cluster {} yet", instance.id, spec.name)));
    }
    let commands = observe::commands(cluster, spec.plan).await?;
    let (username, hash) = (credential.username(), hashed(password));
    cluster.verifiers.forget(&username);
    let set = redis::cmd("ACL")
        .arg("SETUSER")
        .arg(&username)
        .arg(Wanted::of(spec.plan, credential).acl(&hash, &commands))
        .clone();
    let bound = async {
        cluster.admin.query::<()>(&set).await?;
        cluster.admin.save_users().await?;
        observe::end_too_many(cluster, spec.plan, &username).await
    };
    bound.await.map_err(attempt())?;
    cluster.verifiers.remember(username, Digest::of(hash.as_bytes()));
    Ok(())
}

/// Refuses a credential from now on and ends its sessions: only a user that is gone has none.
pub(crate) async fn unbind(
    cluster: &Cluster,
    config: &RedisConfig,
    credential: &CredentialSpec,
) -> Result<(), EngineError> {
    let username = credential.username();
    let unbind = || async {
        cluster.admin.query::<()>(redis::cmd("ACL").arg("DELUSER").arg(&username)).await?;
        cluster.admin.save_users().await
    };
    let unbound = script::take_away(cluster, config, |name, _| name == username, unbind).await;
    unbound.map_err(failed(format!("binding {} could not be ended", credential.binding)))?;
    cluster.verifiers.forget(&username);
    Ok(())
}

/// Shuts off the user that nobody has to prove to be, and removes users that are nobody's.
pub(crate) async fn put_users_right(cluster: &Cluster) -> Result<(), EngineError> {
    let put_right = async {
        let users = observe::users(cluster).await?;
        let strangers: Vec<&String> = users.keys().filter(|name| observe::is_stranger(name)).collect();
        let mut commands = redis::pipe();
        commands.cmd("ACL").arg("SETUSER").arg(user::DEFAULT).arg(&user::DEFAULT_RULES).ignore();
        if !strangers.is_empty() {
            commands.cmd("ACL").arg("DELUSER").arg(&strangers).ignore();
        }
        cluster.admin.query_all::<()>(&commands).await?;
        cluster.admin.save_users().await
    };
    let put_right: Result<(), RedisError> = put_right.await;
    put_right.map_err(failed("the server's users could not be put right"))
}
