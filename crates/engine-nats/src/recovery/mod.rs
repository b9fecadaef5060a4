//! Backups of accounts, and how they come back.
//!
//! A backup is a list of the account's streams and a copy of each, of one moment each, with its consumers and what they have
//! acknowledged. Buckets of keys and of objects are streams, and so in it.

mod guest;
mod rehearsal;
mod scratch;
mod streams;

use std::collections::BTreeMap;

use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Part, Recovery, Rehearsal, Restored, Scope, Until};
use mainstay_engine::{ClusterSpec, Engine, EngineError, InstanceSpec};
use mainstay_types::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

use self::guest::Guest;
use self::streams::Described;
use crate::accounts::Change;
use crate::cluster::Cluster;
use crate::engine::NatsEngine;
use crate::register::Register;

/// The part that lists the streams.
const LIST: &str = "streams";
/// What the name of a stream's part begins with.
const STREAM: &str = "stream/";
/// The version of the list.
const FORMAT: u32 = 1;
/// The longest list: ten thousand streams have one of some ten megabytes.
const LONGEST_LIST: usize = 64 << 20;

const UNCOVERED: [&str; 2] = [
    "messages outside of streams, which the server keeps nowhere",
    "what was published after the copy of its stream began: streams are copied one after the other",
];

/// The list of streams as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    format: u32,
    streams: Vec<Described>,
}

#[async_trait]
impl Recovery for NatsEngine {
    fn scope(&self) -> Scope {
        Scope::Instance
    }

    async fn back_up(
        &self,
        spec: &ClusterSpec,
        instances: &[InstanceSpec],
        archive: &Archive,
    ) -> Result<Backup, EngineError> {
        let [instance] = instances else {
            return Err(EngineError::permanent(
                format!("{} instances were to be in one backup of cluster {}", instances.len(), spec.name),
                "back each of them up by itself",
            ));
        };
        let began_at = Timestamp::now();
        let cluster = self.running(spec).await?;
        archive.progress.stage("copying the streams");
        let guest = Guest::admit(&cluster, &self.removals, &cluster.account(&instance.id)?).await?;
        let copied = copy_all(&guest.client, archive).await;
        guest.leave().await;
        let (parts, streams) = copied?;
        let version = cluster.admin.server(&cluster.secret()?).await?.version;
        let mut uncovered = UNCOVERED.map(str::to_owned).to_vec();
        let in_memory: Vec<&str> = streams.iter().filter(|stream| !stream.is_kept()).map(Described::name).collect();
        if !in_memory.is_empty() {
            uncovered.push(format!("what is in streams that are kept in memory alone: {}", in_memory.join(", ")));
        }
        let messages: u64 = streams.iter().map(|stream| stream.state.messages).sum();
        let notes = [("streams", streams.len() as u64), ("messages", messages)];
        Ok(Backup {
            engine: self.offering().engine.clone(),
            version,
            parts,
            began_at,
            ended_at: Timestamp::now(),
            notes: notes
                .map(|(name, count)| (name.to_owned(), count.to_string()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            uncovered,
        })
    }

    async fn restore_cluster(
        &self,
        cluster: &ClusterSpec,
        _: &Backup,
        _: Until,
        _: &Archive,
    ) -> Result<Restored, EngineError> {
        Err(EngineError::permanent(
            format!("cluster {} is not backed up as a whole", cluster.name),
            "start it anew, and restore its instances one by one",
        ))
    }

    async fn restore_instance(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        _: &InstanceId,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        backup.admit_without_log(until)?;
        let cluster = self.running(spec).await?;
        archive.progress.stage("reading the backup");
        let wanted = described(backup, archive).await?;
        verify(backup, archive).await?;
        archive.progress.stage("ending the sessions of the instance");
        let account = cluster.account(&instance.id)?;
        let restoring = |restoring| Change::Restore { account: account.clone(), restoring };
        Register::change(&cluster, restoring(true)).await?;
        archive.progress.stage("replacing the streams");
        let guest = Guest::admit(&cluster, &self.removals, &account).await?;
        let replaced = replace(&guest.client, &wanted, backup, archive).await;
        guest.leave().await;
        replaced?;
        archive.progress.stage("letting the bindings in");
        Register::change(&cluster, restoring(false)).await?;
        let version = cluster.admin.server(&cluster.secret()?).await?.version;
        let identity = self.identity(&cluster, spec).await?;
        Ok(Restored { identity, version, newest: backup.ended_at })
    }

    async fn rehearse(
        &self,
        _: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        rehearsal::rehearse(self, instance, backup, assertions, archive).await
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        scratch::clear(self).await
    }
}

impl NatsEngine {
    async fn identity(&self, cluster: &Cluster, spec: &ClusterSpec) -> Result<String, EngineError> {
        match &spec.identity {
            Some(identity) => Ok(identity.clone()),
            None => crate::identity::served(&cluster.admin, &cluster.secret()?, spec, &cluster.directory).await,
        }
    }
}

/// Copies all streams, and answers how each was when its copy began.
async fn copy_all(client: &Client, archive: &Archive) -> Result<(Vec<Part>, Vec<Described>), EngineError> {
    let (mut parts, mut copied) = (Vec::new(), Vec::new());
    for listed in streams::list(client).await? {
        if !listed.is_kept() {
            copied.push(listed);
            continue;
        }
        let name = listed.name().to_owned();
        let (mut described, source) = streams::snapshot(client, &name).await?;
        // Only the list says how many consumers there are.
        described.state.consumer_count = listed.state.consumer_count;
        parts.push(archive.keep(&format!("{STREAM}{name}"), source).await?);
        copied.push(described);
    }
    let list = serde_json::to_vec(&List { format: FORMAT, streams: copied.clone() });
    let list = list.map_err(|error| EngineError::transient_from("the streams could not be listed", error))?;
    let source = futures::stream::iter([Ok(Bytes::from(list))]);
    parts.insert(0, archive.keep(LIST, Box::pin(source)).await?);
    Ok((parts, copied))
}

/// The streams of a backup.
async fn described(backup: &Backup, archive: &Archive) -> Result<Vec<Described>, EngineError> {
    let mut kept = archive.read(backup.part(LIST)?).await?;
    let mut text = Vec::new();
    while let Some(bytes) = kept.try_next().await? {
        text.extend_from_slice(&bytes);
        if text.len() > LONGEST_LIST {
            break;
        }
    }
    let unknown = |reason: String| {
        EngineError::permanent(
            format!("part {LIST} of the backup is not understood: {reason}"),
            "restore it with the version of Mainstay that made it",
        )
    };
    match serde_json::from_slice::<List>(&text) {
        Ok(List { format: FORMAT, streams }) => Ok(streams),
        Ok(List { format, .. }) => Err(unknown(format!("its format is {format}"))),
        Err(error) => Err(unknown(error.to_string())),
    }
}

/// Reads every copy to its end, so that what is damaged is found before anything is deleted.
async fn verify(backup: &Backup, archive: &Archive) -> Result<(), EngineError> {
    for part in &backup.parts {
        let mut kept = archive.read(part).await?;
        while kept.try_next().await?.is_some() {}
    }
    Ok(())
}

/// Deletes all streams of the account, and brings those of the backup back.
async fn replace(client: &Client, wanted: &[Described], backup: &Backup, archive: &Archive) -> Result<(), EngineError> {
    for stream in streams::list(client).await? {
        streams::delete(client, stream.name()).await?;
    }
    bring_back(client, wanted, backup, archive).await
}

/// Brings streams back where there are none. What was in memory alone comes back empty.
async fn bring_back(
    client: &Client,
    wanted: &[Described],
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    for described in wanted {
        if !described.is_kept() {
            streams::create(client, described).await?;
            continue;
        }
        let part = backup.part(&format!("{STREAM}{}", described.name()))?;
        streams::restore(client, described, archive.read(part).await?).await?;
    }
    Ok(())
}
