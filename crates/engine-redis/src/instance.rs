//! Instances: a user that nobody logs in as stands for each.

use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::Plan;
use redis::RedisError;

use crate::admin::{Admin, failed};
use crate::cluster::Cluster;
use crate::config::RedisConfig;
use crate::user::{User, instance_user};
use crate::{data, observe, rights, script};

/// Keys that are removed at once: few enough that others are served in between.
const BATCH: usize = 1_000;

/// Makes an instance, or puts right what somebody changed about it.
pub(crate) async fn provision(cluster: &Cluster, instance: &InstanceSpec) -> Result<(), EngineError> {
    let make = redis::cmd("ACL").arg("SETUSER").arg(instance_user(&instance.id)).arg(&["reset", "off"]).clone();
    let made = async {
        cluster.admin.query::<()>(&make).await?;
        cluster.admin.save_users().await
    };
    made.await.map_err(failed(format!("instance {} could not be provisioned", instance.id)))
}

/// Ends an instance's sessions, removes its data, and then what stands for it, so that what was interrupted is done again.
pub(crate) async fn deprovision(
    cluster: &Cluster,
    config: &RedisConfig,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
) -> Result<(), EngineError> {
    let of_instance =
        |_: &str, user: &User| user.note.as_ref().is_some_and(|note| note.instance == instance.id.suffix());
    let remove = || async {
        let users = observe::users(cluster).await?;
        let credentials = users.iter().filter(|(name, user)| of_instance(name, user));
        let credentials: Vec<&str> = credentials.map(|(name, _)| name.as_str()).collect();
        if !credentials.is_empty() {
            cluster.admin.query::<()>(redis::cmd("ACL").arg("DELUSER").arg(&credentials)).await?;
        }
        remove_data(cluster, spec, instance).await?;
        cluster.admin.query::<()>(redis::cmd("ACL").arg("DELUSER").arg(instance_user(&instance.id))).await?;
        cluster.admin.save_users().await?;
        Ok(credentials.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let removed = script::take_away(cluster, config, of_instance, remove).await;
    let credentials = removed.map_err(failed(format!("instance {} could not be removed", instance.id)))?;
    credentials.iter().for_each(|username| cluster.verifiers.forget(username));
    data::keep_instance_closed(&cluster.directory, &instance.id, false)
}

/// Removes all that an instance holds. Nobody may be there who adds to it.
pub(crate) async fn remove_data(
    cluster: &Cluster,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
) -> Result<(), RedisError> {
    match spec.plan {
        Plan::Dedicated => cluster.admin.query::<()>(redis::cmd("FLUSHALL").arg("ASYNC")).await,
        Plan::Shared => remove_keys(&cluster.admin, &rights::prefix(spec.plan, &instance.id)).await,
    }
}

/// Whether an instance was made.
pub(crate) async fn exists(cluster: &Cluster, instance: &InstanceSpec) -> Result<bool, RedisError> {
    let found: Option<redis::Value> =
        cluster.admin.query(redis::cmd("ACL").arg("GETUSER").arg(instance_user(&instance.id))).await?;
    Ok(found.is_some())
}

/// A scan shows each key that is there all the time at least once, and nobody adds any: all who could are gone.
async fn remove_keys(admin: &Admin, prefix: &str) -> Result<(), RedisError> {
    let mut cursor = 0_u64;
    loop {
        let scan =
            redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(BATCH).clone();
        let (next, keys): (u64, Vec<Vec<u8>>) = admin.query(&scan).await?;
        if !keys.is_empty() {
            admin.query::<()>(redis::cmd("UNLINK").arg(&keys)).await?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}
