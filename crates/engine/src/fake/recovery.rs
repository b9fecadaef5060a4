//! How the fake engine's data is backed up and brought back: whole clusters with a log of every change, as PostgreSQL does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use mainstay_types::{InstanceId, Timestamp};
use minicbor::{Decode, Encode};
use secrecy::ExposeSecret;

use super::world::{Cluster, Credential, Instance};
use super::{FakeEngine, Operation, VERSION};
use crate::recovery::{
    Archive, Assertion, Backup, Check, LogPiece, Part, Recovery, Rehearsal, Restored, Scope, Until, Window,
};
use crate::{ClusterSpec, Engine, EngineError, InstanceSpec};

/// The one part of a backup.
const PART: &str = "world";
/// The note of how many changes there were when a backup was made.
const CHANGES: &str = "changes";
/// How often the log is looked at by who follows it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One change to an instance's data.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct Change {
    #[n(0)]
    at: Timestamp,
    #[n(1)]
    instance: String,
    /// None where everything is removed.
    #[n(2)]
    put: Option<(String, String)>,
}

/// A cluster as a backup keeps it.
#[derive(Debug, Clone, Default, Encode, Decode)]
struct Snapshot {
    #[n(0)]
    identity: String,
    #[n(1)]
    instances: BTreeMap<String, BTreeMap<String, String>>,
    #[n(2)]
    credentials: Vec<SnapshotCredential>,
    #[n(3)]
    newest: Option<Timestamp>,
}

#[derive(Debug, Clone, Encode, Decode)]
struct SnapshotCredential {
    #[n(0)]
    username: String,
    #[n(1)]
    instance: String,
    #[n(2)]
    password: String,
    #[n(3)]
    valid_until: Timestamp,
    #[n(4)]
    statements: Option<Vec<String>>,
}

#[async_trait]
impl Recovery for FakeEngine {
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn has_log(&self) -> bool {
        true
    }

    async fn back_up(&self, spec: &ClusterSpec, _: &[InstanceSpec], archive: &Archive) -> Result<Backup, EngineError> {
        self.enter(Operation::BackUp, &spec.name).await?;
        let began_at = Timestamp::now();
        tell(archive, "copying").await;
        let (snapshot, changes) = self
            .world
            .serving(spec, |cluster| Ok((Snapshot::of(cluster), cluster.first_change + cluster.changes.len())))?;
        let ended_at = Timestamp::now();
        Ok(Backup {
            engine: self.offering().engine.clone(),
            version: VERSION.to_owned(),
            parts: vec![keep(archive, PART, &snapshot).await?],
            began_at,
            ended_at,
            notes: BTreeMap::from([(CHANGES.to_owned(), changes.to_string())]),
            uncovered: Vec::new(),
        })
    }

    async fn follow_log(&self, spec: &ClusterSpec, archive: &Archive) -> EngineError {
        match self.follow_to_the_end(spec, archive).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn trim_log(&self, kept: &[Backup], serving: Option<&str>, archive: &Archive) -> Result<(), EngineError> {
        let first = match kept.iter().map(first_change).collect::<Result<Vec<_>, _>>()?.into_iter().min() {
            Some(first) => first,
            // Its next backup may begin with what is there.
            None if serving.is_some() => return Ok(()),
            None => usize::MAX,
        };
        for (name, _) in archive.log.pieces().await? {
            if numbers(&name)?.1 <= first {
                archive.log.forget(&name).await?;
            }
        }
        Ok(())
    }

    async fn window(&self, backup: &Backup, archive: &Archive) -> Result<Window, EngineError> {
        let mut window = Window { earliest: backup.ended_at, latest: backup.ended_at, gap: None };
        let mut next = first_change(backup)?;
        for (name, piece) in archive.log.pieces().await? {
            let (first, end) = numbers(&name)?;
            if end < next {
                continue;
            }
            if first > next {
                window.gap = Some(format!("the log lacks changes {next} to {first}"));
                break;
            }
            next = end;
            window.latest = window.latest.max(piece.until);
        }
        Ok(window)
    }

    async fn restore_cluster(
        &self,
        spec: &ClusterSpec,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        self.enter(Operation::RestoreCluster, &spec.name).await?;
        let snapshot = self.snapshot(backup, until, archive).await?;
        let ends = archive.log.pieces().await?.iter().map(|(name, _)| numbers(name)).collect::<Result<Vec<_>, _>>()?;
        tell(archive, "serving").await;
        let mut cluster = Cluster::new(snapshot.identity.clone(), spec.port);
        cluster.first_change = ends.iter().map(|(_, end)| *end).max().unwrap_or_default();
        for (id, data) in &snapshot.instances {
            let id: InstanceId = parsed(id)?;
            cluster.instances.insert(id.clone(), Instance::default());
            cluster.replace_data(&id, data.clone());
        }
        for saved in &snapshot.credentials {
            let credential = Credential {
                instance: parsed(&saved.instance)?,
                password: saved.password.clone().into(),
                valid_until: saved.valid_until,
                statements: saved.statements.clone(),
                drift: None,
            };
            cluster.credentials.insert(saved.username.clone(), credential);
        }
        self.world.state().clusters.insert(spec.name.clone(), cluster);
        Ok(snapshot.restored(backup))
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
        self.enter(Operation::RestoreInstance, &instance.id).await?;
        let snapshot = self.snapshot(backup, until, archive).await?;
        let data = snapshot.instance(origin)?.clone();
        tell(archive, "putting it in place").await;
        self.world.serving(spec, |cluster| {
            if !cluster.instances.contains_key(&instance.id) {
                return Err(EngineError::transient(format!("instance {} is not there yet", instance.id)));
            }
            cluster.replace_data(&instance.id, data);
            let Cluster { sessions, credentials, .. } = cluster;
            sessions.retain(|_, user| credentials.get(user).is_some_and(|found| found.instance != instance.id));
            Ok(())
        })?;
        Ok(snapshot.restored(backup))
    }

    async fn rehearse(
        &self,
        _: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        let begin = Instant::now();
        self.enter(Operation::Rehearse, &instance.id).await?;
        let snapshot = self.snapshot(backup, Until::Latest, archive).await?;
        let data = snapshot.instance(&instance.id)?;
        let recovery_time = begin.elapsed();
        tell(archive, "checking").await;
        let opens = Check { name: "opens".to_owned(), failure: None, seen: format!("{} keys", data.len()) };
        let asserted = assertions.iter().map(|assertion| {
            let seen = data.get(&assertion.query).cloned().unwrap_or_default();
            let failure = (seen != assertion.expect).then(|| format!("it is {seen:?} and not {:?}", assertion.expect));
            Check { name: format!("assertion {}", assertion.query), failure, seen }
        });
        let checks = std::iter::once(opens).chain(asserted).collect();
        Ok(Rehearsal { recovery_time, newest: snapshot.newest.unwrap_or(backup.ended_at), checks })
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        self.enter(Operation::ClearScratch, "").await
    }
}

impl FakeEngine {
    /// A consumer writes to an instance; false where it is not served.
    pub fn put(&self, port: u16, instance: &str, key: &str, text: &str) -> bool {
        self.world
            .at(port, instance, |cluster, id| cluster.change(id, Some((key.to_owned(), text.to_owned()))))
            .is_some()
    }

    /// A consumer removes everything from an instance; false where it is not served.
    pub fn wipe(&self, port: u16, instance: &str) -> bool {
        self.world.at(port, instance, |cluster, id| cluster.change(id, None)).is_some()
    }

    /// What a consumer finds in an instance; none where it is not served.
    pub fn contents(&self, port: u16, instance: &str) -> Option<BTreeMap<String, String>> {
        self.world.at(port, instance, |cluster, id| cluster.instances[id].data.clone())
    }

    async fn follow_to_the_end(
        &self,
        spec: &ClusterSpec,
        archive: &Archive,
    ) -> Result<std::convert::Infallible, EngineError> {
        self.enter(Operation::FollowLog, &spec.name).await?;
        let pieces = archive.log.pieces().await?;
        let mut newest = pieces.into_iter().next_back();
        loop {
            let until = Timestamp::now();
            let kept = newest.as_ref().map(|(name, _)| numbers(name)).transpose()?.map(|(_, end)| end);
            let (first, changes) = self.world.serving(spec, |cluster| {
                let begin = kept.unwrap_or(cluster.first_change).max(cluster.first_change);
                Ok((begin, cluster.changes.get(begin - cluster.first_change..).unwrap_or_default().to_vec()))
            })?;
            newest = match newest {
                // Nothing is new but the time.
                Some((name, piece)) if changes.is_empty() => Some((name, LogPiece { until, ..piece })),
                _ => {
                    let kept = keep(archive, "the log", &changes).await?;
                    let name = format!("{first:012}-{:012}", first + changes.len());
                    Some((name, LogPiece { address: kept.address, size: kept.size, until, system: None }))
                }
            };
            if let Some((name, piece)) = &newest {
                archive.log.record(name, piece).await?;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What a backup and the log say of a moment.
    async fn snapshot(&self, backup: &Backup, until: Until, archive: &Archive) -> Result<Snapshot, EngineError> {
        tell(archive, "reading the backup").await;
        let part = backup.part(PART)?;
        let mut snapshot: Snapshot = decode(&whole(archive.read(part).await?).await?)?;
        let window = self.window(backup, archive).await?;
        let moment = match until {
            Until::Backup => return Ok(snapshot),
            Until::Latest => window.latest,
            Until::Time(moment) if (window.earliest..=window.latest).contains(&moment) => moment,
            Until::Time(moment) => {
                let Window { earliest, latest, gap } = window;
                let gap = gap.map_or_else(String::new, |gap| format!("; {gap}"));
                let reason = format!("{moment} can not be restored: the window is {earliest} to {latest}{gap}");
                return Err(EngineError::permanent(reason, "choose a moment within it"));
            }
        };
        tell(archive, "replaying the log").await;
        let mut next = first_change(backup)?;
        for (name, piece) in archive.log.pieces().await? {
            let (first, end) = numbers(&name)?;
            if end <= next {
                continue;
            }
            if first > next {
                break;
            }
            let kept = archive.serve(&format!("piece {name} of the log"), piece.address).await?;
            let changes: Vec<Change> = decode(&whole(kept).await?)?;
            for change in changes.into_iter().skip(next - first).filter(|change| change.at <= moment) {
                snapshot.newest = Some(change.at);
                let data = snapshot.instances.entry(change.instance).or_default();
                match change.put {
                    Some((key, text)) => drop(data.insert(key, text)),
                    None => data.clear(),
                }
            }
            next = end;
        }
        Ok(snapshot)
    }
}

impl Cluster {
    /// Changes an instance's data, and writes it to the log.
    pub(super) fn change(&mut self, id: &InstanceId, put: Option<(String, String)>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        match put.clone() {
            Some((key, text)) => drop(instance.data.insert(key, text)),
            None => instance.data.clear(),
        }
        self.changes.push(Change { at: Timestamp::now(), instance: id.to_string(), put });
    }

    fn replace_data(&mut self, id: &InstanceId, data: BTreeMap<String, String>) {
        self.change(id, None);
        data.into_iter().for_each(|entry| self.change(id, Some(entry)));
    }
}

impl Snapshot {
    fn of(cluster: &Cluster) -> Self {
        let credential = |(username, found): (&String, &Credential)| SnapshotCredential {
            username: username.clone(),
            instance: found.instance.to_string(),
            password: found.password.expose_secret().to_owned(),
            valid_until: found.valid_until,
            statements: found.statements.clone(),
        };
        Self {
            identity: cluster.identity.clone(),
            instances: cluster.instances.iter().map(|(id, found)| (id.to_string(), found.data.clone())).collect(),
            credentials: cluster.credentials.iter().map(credential).collect(),
            newest: None,
        }
    }

    fn instance(&self, id: &InstanceId) -> Result<&BTreeMap<String, String>, EngineError> {
        let missing = || EngineError::permanent(format!("instance {id} is not in the backup"), "restore another one");
        self.instances.get(&id.to_string()).ok_or_else(missing)
    }

    fn restored(&self, backup: &Backup) -> Restored {
        let newest = self.newest.unwrap_or(backup.ended_at);
        Restored { identity: self.identity.clone(), version: backup.version.clone(), newest }
    }
}

/// Tells a stage, at which whoever is told can drop the operation.
async fn tell(archive: &Archive, stage: &str) {
    archive.progress.stage(stage);
    tokio::task::yield_now().await;
}

async fn keep<T: Encode<()>>(archive: &Archive, name: &str, value: &T) -> Result<Part, EngineError> {
    let bytes =
        minicbor::to_vec(value).map_err(|error| EngineError::transient_from("it could not be written", error))?;
    archive.keep(name, futures::stream::once(async { Ok(Bytes::from(bytes)) }).boxed()).await
}

async fn whole(kept: crate::recovery::Kept) -> Result<Vec<u8>, EngineError> {
    kept.map_ok(|bytes| bytes.to_vec()).try_concat().await
}

fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, EngineError> {
    let unreadable =
        |error| EngineError::permanent(format!("what was kept can not be read: {error}"), "restore another backup");
    minicbor::decode(bytes).map_err(unreadable)
}

fn parsed(id: &str) -> Result<InstanceId, EngineError> {
    id.parse().map_err(|error| EngineError::permanent(format!("{error}"), "restore another backup"))
}

/// How many changes were before a backup.
fn first_change(backup: &Backup) -> Result<usize, EngineError> {
    let note = backup.note(CHANGES)?;
    note.parse().map_err(|_| EngineError::permanent(format!("{note} is no number"), "restore another backup"))
}

/// The first change in a piece of the log, and the first after it.
fn numbers(name: &str) -> Result<(usize, usize), EngineError> {
    let both = name.split_once('-').and_then(|(first, end)| Some((first.parse().ok()?, end.parse().ok()?)));
    both.ok_or_else(|| EngineError::permanent(format!("{name} is no piece of the log"), "restore another backup"))
}
