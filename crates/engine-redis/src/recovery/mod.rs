//! Backups of whole clusters, and how they come back.
//!
//! A backup is one snapshot in the server's own format. Redis keeps no log that could be followed from elsewhere, so that the moments
//! which can be restored are those of the backups; what a server that still has its append-only file knows beyond them is on its own
//! disk, and starting it brings it back better than any restore: of a restore, the newest is the backup.

mod cluster;
mod command;
mod instance;
mod keys;
mod notes;
mod rdb;
mod rehearsal;
mod scratch;
mod snapshot;

use async_trait::async_trait;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Recovery, Rehearsal, Restored, Scope, Until};
use mainstay_engine::{ClusterSpec, Engine, EngineError, InstanceSpec};
use mainstay_types::{EngineName, InstanceId, Plan, Timestamp};

use crate::admin::failed;
use crate::engine::RedisEngine;
use crate::info::Info;
use crate::{rights, user};

/// What consumers could miss.
const UNCOVERED: [&str; 2] = [
    "what was written after the moment of the backup: the server keeps no log that could be followed",
    "when a key was last used, and how often, which is what a cache chooses by that drops keys",
];

impl RedisEngine {
    pub(crate) fn engine_name(&self) -> EngineName {
        self.offering().engine.clone()
    }
}

#[async_trait]
impl Recovery for RedisEngine {
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    async fn back_up(
        &self,
        spec: &ClusterSpec,
        instances: &[InstanceSpec],
        archive: &Archive,
    ) -> Result<Backup, EngineError> {
        let began_at = Timestamp::now();
        archive.progress.stage("copying the data");
        let cluster = self.running(spec).await?;
        let info = Info::ask(&cluster.admin).await?;
        let version = info.version(self.config.flavour).map(|version| version.to_string()).unwrap_or_default();
        let users: Vec<String> = cluster
            .admin
            .query(redis::cmd("ACL").arg("LIST"))
            .await
            .map_err(failed("the users could not be backed up"))?;
        let of_tenants =
            |line: &String| user::parse_line(line).is_some_and(|(name, _)| user::belongs_to_tenants(&name));
        let users = users.into_iter().filter(of_tenants).collect();
        let snapshot = snapshot::take(&cluster.directory).await?;
        let part = archive.keep(notes::DATA, snapshot.bytes).await?;
        let census = snapshot.census.await.map_err(std::io::Error::other).and_then(|counted| counted);
        let census = census.map_err(|error| EngineError::transient_from("what the server sent is not whole", error))?;
        let prefixes = match spec.plan {
            Plan::Shared => instances.iter().map(|instance| rights::prefix(spec.plan, &instance.id)).collect(),
            Plan::Dedicated => Vec::new(),
        };
        let prefixes: Vec<String> =
            prefixes.iter().map(|prefix: &String| prefix.trim_end_matches(':').to_owned()).collect();
        let memory = info.number("used_memory").unwrap_or(0);
        Ok(Backup {
            engine: self.engine_name(),
            version,
            parts: vec![part],
            began_at,
            ended_at: snapshot.of,
            notes: notes::written(&cluster.record(spec)?, users, memory, census.as_ref(), &prefixes)?,
            uncovered: UNCOVERED.map(str::to_owned).to_vec(),
        })
    }

    async fn restore_cluster(
        &self,
        spec: &ClusterSpec,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        backup.admit_without_log(until)?;
        cluster::restore(self, spec, backup, archive).await
    }

    async fn restore_instance(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        origin: &InstanceId,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        backup.admit_without_log(until)?;
        instance::restore(self, spec, instance, origin, backup, archive).await?;
        let cluster = self.running(spec).await?;
        let version = Info::ask(&cluster.admin).await?.version(self.config.flavour);
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        Ok(Restored { identity: cluster.record(spec)?.identity, version, newest: backup.ended_at })
    }

    async fn rehearse(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        rehearsal::rehearse(self, spec, instance, backup, assertions, archive).await
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        scratch::clear(self).await
    }
}
