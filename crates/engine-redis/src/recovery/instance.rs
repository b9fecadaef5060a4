//! One instance's data replaced by that of a backup, the same way on both plans: its bindings are shut out, its keys go, those of the
//! backup come from a scratch server, and the bindings are let in again.
//!
//! That it is under way is on disk and out of the server's reach, so that an instance with half of its data lets nobody in whatever
//! dies meanwhile. Restoring it again is what ends that.

use mainstay_engine::recovery::{Archive, Backup};
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::{InstanceId, Plan};
use redis::RedisError;

use super::keys::{self, Place};
use super::notes;
use super::scratch::Scratch;
use crate::admin::failed;
use crate::cluster::Cluster;
use crate::engine::RedisEngine;
use crate::info::Info;
use crate::user::User;
use crate::{data, instance, marker, observe, offering, rights, script};

/// Replaces the data. Until the backup was found whole nothing is changed.
pub(super) async fn restore(
    engine: &RedisEngine,
    spec: &ClusterSpec,
    wanted: &InstanceSpec,
    origin: &InstanceId,
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    let cluster = engine.running(spec).await?;
    refuse_too_small(&cluster, spec, backup).await?;
    let scratch = Scratch::lay_out(engine, backup, archive).await?;
    let restored = replace(engine, spec, &cluster, wanted, origin, &scratch, archive).await;
    scratch.remove().await;
    restored
}

async fn replace(
    engine: &RedisEngine,
    spec: &ClusterSpec,
    cluster: &Cluster,
    wanted: &InstanceSpec,
    origin: &InstanceId,
    scratch: &Scratch,
    archive: &Archive,
) -> Result<(), EngineError> {
    archive.progress.stage("ending the sessions of the instance");
    data::keep_instance_closed(&cluster.directory, &wanted.id, true)?;
    shut_out(engine, cluster, wanted).await?;
    archive.progress.stage("replacing the data");
    let (from, to) = (rights::prefix(spec.plan, origin), rights::prefix(spec.plan, &wanted.id));
    instance::remove_data(cluster, spec, wanted).await.map_err(failed("the data could not be removed"))?;
    let copied = |bytes| archive.progress.copied(bytes);
    let databases = match spec.plan {
        // A shared server has one.
        Plan::Shared => vec![0],
        Plan::Dedicated => Info::ask(&scratch.cluster.admin).await?.databases(),
    };
    for database in databases {
        let (from, to) = (Place { database, prefix: &from }, Place { database, prefix: &to });
        keys::copy(&scratch.cluster.admin, from, &cluster.admin, to, copied).await?;
    }
    if spec.plan == Plan::Dedicated {
        copy_functions(cluster, spec, scratch).await?;
    }
    archive.progress.stage("letting the bindings in");
    data::keep_instance_closed(&cluster.directory, &wanted.id, false)?;
    let attempt = || failed(format!("the bindings of instance {} could not be let in", wanted.id));
    let names = bindings(cluster, wanted).await.map_err(attempt())?;
    enable(cluster, &names, true).await.map_err(attempt())
}

/// Lets no binding of the instance in, and ends the sessions of those that are.
async fn shut_out(engine: &RedisEngine, cluster: &Cluster, wanted: &InstanceSpec) -> Result<(), EngineError> {
    let of_instance = |_: &str, user: &User| belongs_to(user, wanted);
    let shut_out = || async {
        let names = bindings(cluster, wanted).await?;
        enable(cluster, &names, false).await
    };
    let shut = script::take_away(cluster, &engine.config, of_instance, shut_out).await;
    shut.map_err(failed(format!("the bindings of instance {} could not be shut out", wanted.id)))
}

fn belongs_to(user: &User, instance: &InstanceSpec) -> bool {
    user.note.as_ref().is_some_and(|note| note.instance == instance.id.suffix())
}

async fn bindings(cluster: &Cluster, instance: &InstanceSpec) -> Result<Vec<String>, RedisError> {
    let users = observe::users(cluster).await?;
    let bindings = users.into_iter().filter(|(_, user)| belongs_to(user, instance));
    Ok(bindings.map(|(name, _)| name).collect())
}

async fn enable(cluster: &Cluster, names: &[String], enabled: bool) -> Result<(), RedisError> {
    let mut commands = redis::pipe();
    for name in names {
        commands.cmd("ACL").arg("SETUSER").arg(name).arg(if enabled { "on" } else { "off" }).ignore();
        if !enabled {
            commands.cmd("CLIENT").arg("KILL").arg("USER").arg(name).ignore();
        }
    }
    if !commands.is_empty() {
        cluster.admin.query_all::<()>(&commands).await?;
    }
    cluster.admin.save_users().await
}

/// The owner's functions are part of the data; the one that tells whose data it is stays this cluster's, at every moment.
async fn copy_functions(cluster: &Cluster, spec: &ClusterSpec, scratch: &Scratch) -> Result<(), EngineError> {
    marker::remove(&scratch.cluster.admin).await?;
    let attempt = || failed("the functions could not be copied");
    let functions: Vec<u8> = scratch.cluster.admin.query(redis::cmd("FUNCTION").arg("DUMP")).await.map_err(attempt())?;
    let mut replace = redis::pipe();
    replace.atomic().cmd("FUNCTION").arg("RESTORE").arg(functions).arg("FLUSH").ignore();
    if offering::persistence(spec.plan, &spec.parameters) != offering::Persistence::Cache {
        replace.add_command(marker::load(&cluster.record(spec)?.identity)).ignore();
    }
    cluster.admin.query_all::<()>(&replace).await.map_err(attempt())
}

/// What does not fit is found before the old data is gone.
async fn refuse_too_small(cluster: &Cluster, spec: &ClusterSpec, backup: &Backup) -> Result<(), EngineError> {
    // On a shared server the backup's size says nothing of one instance's.
    if spec.plan == Plan::Shared || offering::eviction(spec.plan, &spec.parameters) != "noeviction" {
        return Ok(());
    }
    let info = Info::ask(&cluster.admin).await?;
    match (notes::memory(backup), info.number::<u64>("maxmemory")) {
        (Some(needed), Some(allowed)) if needed > allowed => Err(EngineError::permanent(
            format!(
                "the backup has {} MiB of data, and cluster {} may have {} MiB",
                needed >> 20,
                spec.name,
                allowed >> 20
            ),
            "restore it to an instance with a larger memory_mib",
        )),
        _ => Ok(()),
    }
}
