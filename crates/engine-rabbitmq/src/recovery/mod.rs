//! Backups of virtual hosts, and how they come back.
//!
//! A backup has what is declared in a virtual host, and the messages of its durable classic queues. A node that others use is not
//! stopped for one of them, and a copy of one that runs is not whole, so that messages are read: taken and put back, which marks them as
//! delivered before and leaves their order. What can not be read so without harm is left out, and each backup says what that is.

mod closed;
mod host;
mod messages;
mod rehearsal;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use mainstay_dataplane::{Source, SourceError};
use mainstay_engine::recovery::{Archive, Assertion, Backup, Part, Recovery, Rehearsal, Restored, Scope, Until};
use mainstay_engine::supervise::ClusterDirectory;
use mainstay_engine::{ClusterSpec, Engine, EngineError, InstanceSpec};
use mainstay_types::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::closed::{open, users as users_of_closed};
use self::host::Queue;
use self::messages::{Contents, MESSAGES, Reading};
use crate::api::{Api, failed};
use crate::cluster::Cluster;
use crate::engine::RabbitmqEngine;
use crate::instance;
use crate::names::virtual_host;

/// The part that says what is declared.
const DEFINITIONS: &str = "definitions";
/// The version of both parts.
const FORMAT: u32 = 1;
/// The first line of the messages, so that there is one where there are none.
const HEADING: &str = "# messages of RabbitMQ, format 1\n";
/// The longest definitions that are read.
const LONGEST_DEFINITIONS: usize = 64 << 20;

const UNCOVERED: [&str; 3] = [
    "messages of queues that are not durable, and those that a consumer had taken and not acknowledged",
    "the exchange and the routing key that a message came by: it comes back by the name of its queue",
    "what was published after its queue was read: queues are read one after the other",
];

#[derive(Debug, Serialize, Deserialize)]
struct Definitions {
    format: u32,
    definitions: Value,
}

#[async_trait]
impl Recovery for RabbitmqEngine {
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
        archive.progress.stage("copying the messages");
        let (_, api) = self.running(spec).await?;
        let (api, name) = (Arc::new(api), virtual_host(&instance.id));
        let inside = host::come_in(&api, &name, &self.removals).await?;
        let copied = copy(&api, &name, archive).await;
        inside.now().await;
        let (parts, left_out) = copied?;
        let notes = BTreeMap::from([("queues_without_messages".to_owned(), left_out.len().to_string())]);
        Ok(Backup {
            engine: self.offering().engine.clone(),
            version: version(&api).await?,
            parts,
            began_at,
            ended_at: Timestamp::now(),
            notes,
            uncovered: UNCOVERED.map(str::to_owned).into_iter().chain(left_out).collect(),
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
        let (cluster, api) = self.running(spec).await?;
        let api = Arc::new(api);
        archive.progress.stage("reading the backup");
        let definitions = definitions_of(backup, archive).await?;
        let mut reading = Reading::of(backup, archive).await?;
        while reading.next().await?.is_some() {}
        archive.progress.stage("ending the sessions of the instance");
        let users = shut_out(&cluster, &api, instance).await?;
        archive.progress.stage("replacing the queues");
        let inside = host::come_in(&api, &virtual_host(&instance.id), &self.removals).await?;
        let replaced = replace(&api, instance, &definitions, backup, archive).await;
        inside.now().await;
        replaced?;
        archive.progress.stage("letting the bindings in");
        let let_in = host::let_in(&api, &virtual_host(&instance.id), &users).await;
        let_in.map_err(failed("the bindings could not be let in"))?;
        // Last, since it says who is to be let in.
        closed::open(&cluster.directory, &instance.id)?;
        let identity = match &spec.identity {
            Some(identity) => identity.clone(),
            None => self.start(spec).await?.identity,
        };
        Ok(Restored { identity, version: version(&api).await?, newest: backup.ended_at })
    }

    async fn rehearse(
        &self,
        spec: &ClusterSpec,
        _: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        let (_, api) = self.running(spec).await?;
        rehearsal::rehearse(&Arc::new(api), &self.removals, backup, assertions, archive).await
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        #[derive(Deserialize)]
        struct VirtualHost {
            name: String,
        }
        self.removals.finished().await;
        for name in ClusterDirectory::names(&self.config.clusters_dir, &self.offering().engine) {
            let cluster = self.cluster(&name);
            // One that does not run is cleared when this is asked again.
            if cluster.process(&self.config).await?.is_none() {
                continue;
            }
            let api = cluster.api(&self.config)?;
            let attempt = || failed(format!("the scratch virtual hosts of cluster {name} could not be removed"));
            let hosts: Vec<VirtualHost> = api.get("vhosts?columns=name").await.map_err(attempt())?;
            for VirtualHost { name } in hosts.iter().filter(|host| rehearsal::is_scratch(&host.name)) {
                api.delete(&format!("vhosts/{name}")).await.map_err(attempt())?;
            }
        }
        Ok(())
    }
}

/// Copies what is declared and what can be read, and answers what was left out, one sentence each.
async fn copy(api: &Arc<Api>, name: &str, archive: &Archive) -> Result<(Vec<Part>, Vec<String>), EngineError> {
    let definitions = host::definitions(api, name).await.map_err(failed("the definitions could not be exported"))?;
    let queues = host::durable_queues(&definitions);
    let text = serde_json::to_vec(&Definitions { format: FORMAT, definitions });
    let text = text.map_err(|error| EngineError::transient_from("the definitions could not be written down", error))?;
    let source = futures::stream::iter([Ok(Bytes::from(text))]);
    let declared = archive.keep(DEFINITIONS, Box::pin(source)).await?;
    let left_out = Arc::new(std::sync::Mutex::new(Vec::new()));
    let copying =
        Copying { api: api.clone(), host: name.to_owned(), queues: queues.into_iter(), left_out: left_out.clone() };
    let heading = futures::stream::iter([Ok::<_, SourceError>(Bytes::from_static(HEADING.as_bytes()))]);
    let messages = futures::stream::try_unfold(copying, |mut copying| async move {
        let lines = copying.next().await.map_err(SourceError::from)?;
        Ok(lines.map(|lines| (lines, copying)))
    });
    let source: Source = Box::pin(futures::StreamExt::chain(heading, messages));
    let messages = archive.keep(MESSAGES, source).await?;
    let left_out = std::mem::take(&mut *left_out.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    Ok((vec![declared, messages], left_out))
}

struct Copying {
    api: Arc<Api>,
    host: String,
    queues: std::vec::IntoIter<Queue>,
    left_out: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Copying {
    /// The messages of one more queue.
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let Some(queue) = self.queues.next() else { return Ok(None) };
        let name = &queue.name;
        let leave_out = |reason: String| {
            let mut left_out = self.left_out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            left_out.push(reason);
        };
        if let Some(kind) = queue.unreadable_kind() {
            leave_out(format!("the messages of {kind} queue {name}, which can not be read without changing them"));
            return Ok(Some(Bytes::new()));
        }
        let read = messages::read(&self.api, &self.host, name).await;
        match read.map_err(failed(format!("queue {name} could not be read")))? {
            Contents::All(messages) => messages::lines(&messages).map(Some),
            Contents::TooMuch => {
                leave_out(format!("the messages of queue {name}, which are more than can be read at once"));
                Ok(Some(Bytes::new()))
            }
        }
    }
}

/// What was declared in a virtual host.
async fn definitions_of(backup: &Backup, archive: &Archive) -> Result<Value, EngineError> {
    let mut kept = archive.read(backup.part(DEFINITIONS)?).await?;
    let mut text = Vec::new();
    while let Some(bytes) = kept.try_next().await? {
        text.extend_from_slice(&bytes);
        if text.len() > LONGEST_DEFINITIONS {
            break;
        }
    }
    let unknown = |reason: String| {
        EngineError::permanent(
            format!("part {DEFINITIONS} of the backup is not understood: {reason}"),
            "restore it with the version of Mainstay that made it",
        )
    };
    match serde_json::from_slice::<Definitions>(&text) {
        Ok(Definitions { format: FORMAT, definitions }) => Ok(definitions),
        Ok(Definitions { format, .. }) => Err(unknown(format!("its format is {format}"))),
        Err(error) => Err(unknown(error.to_string())),
    }
}

/// Closes an instance, and answers whom to let in again.
async fn shut_out(cluster: &Cluster, api: &Api, instance: &InstanceSpec) -> Result<Vec<String>, EngineError> {
    let name = virtual_host(&instance.id);
    let attempt = || failed(format!("the bindings of instance {} could not be shut out", instance.id));
    let mut users = host::users(api, &name).await.map_err(attempt())?;
    // Those that an interrupted restore has shut out before.
    users.extend(closed::users(&cluster.directory, &instance.id)?.into_iter().flatten());
    users.sort();
    users.dedup();
    closed::close(&cluster.directory, &instance.id, &users)?;
    host::shut_out(api, &name, &users).await.map_err(attempt())?;
    Ok(users)
}

async fn replace(
    api: &Api,
    instance: &InstanceSpec,
    definitions: &Value,
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    let name = virtual_host(&instance.id);
    host::empty(api, &name).await?;
    host::declare(api, &name, definitions).await?;
    instance::provision(api, instance).await?;
    let mut reading = Reading::of(backup, archive).await?;
    while let Some(message) = reading.next().await? {
        messages::publish(api, &name, &message).await?;
    }
    Ok(())
}

async fn version(api: &Api) -> Result<String, EngineError> {
    #[derive(Deserialize)]
    struct Overview {
        rabbitmq_version: String,
    }
    let overview: Overview =
        api.get("overview?columns=rabbitmq_version").await.map_err(failed("the node does not tell its version"))?;
    Ok(overview.rabbitmq_version)
}
