//! Recovery: how an engine's data is copied while it is used, and how it is brought back.
//!
//! Bytes go to the data plane that the caller gives, and come back from it; an engine never learns where that keeps them.
//! What a backup answers is self-describing: with its parts and, where there is one, the log, it is restored by an engine that
//! knows nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use mainstay_dataplane::{
    Address, Body, Cut, DataPlane, Hints, IngestError, Owner, Receipt, Serve, ServeError, Sha256, Source,
};
pub use mainstay_types::Assertion;
use mainstay_types::{EngineName, InstanceId, Timestamp};
use minicbor::{Decode, Encode};

use crate::{ClusterSpec, EngineError, InstanceSpec};

/// What one backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A whole cluster, with every instance on it. One of them is restored by way of a scratch cluster.
    Cluster,
    /// One instance.
    Instance,
}

/// A stream that a backup kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// What the engine finds it by.
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub address: Address,
    #[n(2)]
    pub sha256: Sha256,
    /// Bytes.
    #[n(3)]
    pub size: u64,
}

/// What a backup kept. It lasts longer than the version that wrote it: fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Backup {
    #[n(0)]
    pub engine: EngineName,
    /// Of the engine that it was taken from, for example `15.18`.
    #[n(1)]
    pub version: String,
    #[n(2)]
    pub parts: Vec<Part>,
    #[n(3)]
    pub began_at: Timestamp,
    /// The earliest moment that it restores; without a log, the only one.
    #[n(4)]
    pub ended_at: Timestamp,
    /// What else the engine needs to restore it, in its own words: where its log begins, for example.
    #[n(5)]
    pub notes: BTreeMap<String, String>,
    /// What is not in it although a consumer could think so, one sentence each.
    #[n(6)]
    pub uncovered: Vec<String>,
}

/// One piece of a cluster's continuous log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogPiece {
    #[n(0)]
    pub address: Address,
    /// Bytes.
    #[n(1)]
    pub size: u64,
    /// Everything that was acknowledged before this moment is in this piece or in those before it.
    #[n(2)]
    pub until: Timestamp,
    /// Which cluster's it is, of those that have had this name one after the other, as [`Started::identity`](crate::Started::identity). None
    /// where the engine does not say, and in what older versions have recorded.
    #[n(3)]
    pub system: Option<String>,
}

/// The catalogue of the logs of all clusters that have had one name. Names of one of them sort in the order of its log; they are of letters, digits, `.`, `-` and `_`.
#[async_trait]
pub trait LogCatalogue: Send + Sync {
    /// Records a piece whose bytes are kept; it is durable when this returns. A piece of that name is replaced.
    async fn record(&self, name: &str, piece: &LogPiece) -> Result<(), EngineError>;

    /// All pieces, in their order.
    async fn pieces(&self) -> Result<Vec<(String, LogPiece)>, EngineError>;

    /// Forgets a piece; it is no error that there is none.
    async fn forget(&self, name: &str) -> Result<(), EngineError>;
}

/// Where backups are kept, as an engine sees it.
#[derive(Clone)]
pub struct Archive {
    /// Everything is ingested for [`Owner::Backups`](mainstay_dataplane::Owner::Backups). It chunks, compresses and encrypts by itself.
    pub plane: Arc<dyn DataPlane>,
    /// Of the cluster that this is about.
    pub log: Arc<dyn LogCatalogue>,
    pub progress: Arc<dyn Progress>,
}

/// The bytes of something that a backup kept, verified. An error ends them, and names what they are of.
pub type Kept = BoxStream<'static, Result<Bytes, EngineError>>;

/// Is told how far long work has come.
pub trait Progress: Send + Sync {
    /// What is being done now, as people read it: `replaying the log`.
    fn stage(&self, stage: &str);

    /// So many bytes more have been copied.
    fn copied(&self, bytes: u64);
}

/// The moment that is wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The end of the backup.
    Backup,
    /// The newest that there is.
    Latest,
    /// This one; it has to lie within the window.
    Time(Timestamp),
}

/// The moments that can be restored, starting from one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub earliest: Timestamp,
    pub latest: Timestamp,
    /// Why it ends where it does, where the log goes on after a piece that is missing.
    pub gap: Option<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Of the cluster that serves it, as [`Started::identity`](crate::Started::identity).
    pub identity: String,
    pub version: String,
    /// The newest change that is in it, where the engine can tell; else the moment of the backup.
    pub newest: Timestamp,
}

/// What came back after a disaster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    pub restored: Restored,
    /// Why not everything came back that was kept, where that is so.
    pub lost: Option<String>,
}

/// How a restore into a scratch cluster went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// From its beginning to the first question that the scratch cluster answered.
    pub recovery_time: Duration,
    /// The newest change that was in it.
    pub newest: Timestamp,
    /// What was looked at, in order. It is passed if all of them are, and there is one.
    pub checks: Vec<Check>,
}

/// One thing that a drill has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// For example `pg_amcheck`; `assertion ` and its question for what the owner asserted. Those come in the owner's order.
    pub name: String,
    /// Why it did not pass, where it did not.
    pub failure: Option<String>,
    /// What was seen: counts, versions.
    pub seen: String,
}

/// An engine whose data can be backed up and brought back.
///
/// Nothing here waits without a bound, and memory stays bounded however much data there is. An operation whose future is
/// dropped, or whose process dies, leaves nothing that serves and nothing that is half done and visible; what it leaves in scratch
/// places is removed by [`clear_scratch`](Recovery::clear_scratch).
#[async_trait]
pub trait Recovery: Send + Sync {
    fn scope(&self) -> Scope;

    /// Whether there is a log, so that every moment between backups can be restored too.
    fn has_log(&self) -> bool {
        false
    }

    /// Copies the cluster, or the one instance, while it is used. What the answer tells is durable in the archive. Where there is a
    /// log it has to be followed meanwhile: a backup is good for nothing without what was written while it was made.
    async fn back_up(
        &self,
        cluster: &ClusterSpec,
        instances: &[InstanceSpec],
        archive: &Archive,
    ) -> Result<Backup, EngineError>;

    /// Follows the log of a serving cluster and keeps each piece within a second, for as long as it is polled. It ends with the reason
    /// why it could not go on; begun again, it goes on where it was, with no gap if the cluster still has what is missing.
    async fn follow_log(&self, cluster: &ClusterSpec, archive: &Archive) -> EngineError {
        let _ = archive;
        EngineError::permanent(format!("cluster {} has no log", cluster.name), "restore its backups")
    }

    /// Removes what of the log none of these backups needs, which are all that there are of clusters of this name. `serving` is the identity of
    /// the one that there is now: it may have no backup yet.
    async fn trim_log(&self, kept: &[Backup], serving: Option<&str>, archive: &Archive) -> Result<(), EngineError> {
        let (_, _, _) = (kept, serving, archive);
        Ok(())
    }

    /// The moments that can be restored now, read off what is in the archive.
    async fn window(&self, backup: &Backup, archive: &Archive) -> Result<Window, EngineError> {
        let _ = archive;
        Ok(Window { earliest: backup.ended_at, latest: backup.ended_at, gap: None })
    }

    /// Lays a whole cluster out anew and makes it serve as `cluster` says, on its port and under its name. Its process does not run, or is
    /// ended; data that lies there is put aside first, and removed when the new data serves. Only of [`Scope::Cluster`].
    async fn restore_cluster(
        &self,
        cluster: &ClusterSpec,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError>;

    /// The same after a disaster, when as much is wanted as there is: up to the newest moment, or to `at`. A log that ends before it, or of which a
    /// piece is missing or damaged, is replayed up to there, and the answer tells that.
    async fn salvage_cluster(
        &self,
        cluster: &ClusterSpec,
        backup: &Backup,
        at: Option<Timestamp>,
        archive: &Archive,
    ) -> Result<Salvaged, EngineError> {
        let until = at.filter(|_| self.has_log()).map_or(Until::Latest, Until::Time);
        Ok(Salvaged { restored: self.restore_cluster(cluster, backup, until, archive).await?, lost: None })
    }

    /// Replaces all that is in an instance of a serving cluster with what was in an instance (the same, or one that is gone) at that
    /// moment. Consumers' sessions of that instance are ended, others' go on; its bindings stay valid. Until it is whole the instance holds
    /// what it held, or serves nobody.
    async fn restore_instance(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        origin: &InstanceId,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError>;

    /// Restores into a scratch cluster that nobody but this can reach, looks whether everything is well with the engine's own means and the
    /// owner's assertions, and removes it, whatever happens. A transient error says that it could not be tried now, a permanent one
    /// that nothing comes back, which is a drill that did not pass; that what came back is not well is an answer.
    async fn rehearse(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError>;

    /// Contents of the archive that a backup refers to beside its parts, some of them perhaps more than once. They were kept for this
    /// backup or an earlier one, and have to stay as long as any backup refers to them.
    async fn contents(
        &self,
        backup: &Backup,
        archive: &Archive,
    ) -> Result<BoxStream<'static, Result<Address, EngineError>>, EngineError> {
        let (_, _) = (backup, archive);
        Ok(futures::stream::empty().boxed())
    }

    /// Removes the scratch clusters of control planes that are gone, with their processes.
    async fn clear_scratch(&self) -> Result<(), EngineError>;
}

// === impl Archive ===

impl Archive {
    /// Keeps a stream as a part of a backup, and tells how far it has come.
    pub async fn keep(&self, name: &str, source: Source) -> Result<Part, EngineError> {
        let Receipt { address, sha256, size, .. } = self.ingest(name, source).await?;
        Ok(Part { name: name.to_owned(), address, sha256, size })
    }

    /// Keeps a stream, which errors call by this name.
    pub async fn ingest(&self, name: &str, source: Source) -> Result<Receipt, EngineError> {
        self.ingest_with(Hints::plain(Owner::Backups), name, source).await
    }

    /// Keeps a piece of a log, of which nothing comes again.
    pub async fn ingest_log(&self, name: &str, source: Source) -> Result<Receipt, EngineError> {
        self.ingest_with(Hints { cut: Cut::Coarse, ..Hints::plain(Owner::Backups) }, name, source).await
    }

    async fn ingest_with(&self, hints: Hints, name: &str, source: Source) -> Result<Receipt, EngineError> {
        let progress = self.progress.clone();
        let counted =
            source.inspect(move |bytes| progress.copied(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)));
        self.plane.ingest_stream(Box::pin(counted), hints).await.map_err(|error| match error {
            // The engine's own error, as it was.
            IngestError::Source(source) => match source.downcast::<EngineError>() {
                Ok(error) => *error,
                Err(source) => EngineError::transient_from(format!("{name} could not be copied"), source),
            },
            error => EngineError::transient_from(format!("{name} could not be kept"), error),
        })
    }

    /// Reads a part of a backup, and tells how far that has come.
    pub async fn read(&self, part: &Part) -> Result<Kept, EngineError> {
        self.serve(&format!("part {} of the backup", part.name), part.address).await
    }

    /// Reads something that is kept, which errors call by this name.
    pub async fn serve(&self, name: &str, address: Address) -> Result<Kept, EngineError> {
        let served = self.plane.serve_object(Serve { address, range: None, key: None }).await;
        let body = served.map_err(|error| unreadable(name, error))?.body;
        let (name, progress) = (name.to_owned(), self.progress.clone());
        let stream = match body {
            Body::Whole(bytes) => futures::stream::once(async { Ok(bytes) }).boxed(),
            Body::Stream(stream) => stream,
        };
        Ok(stream
            .map(move |bytes| bytes.map_err(|error| unreadable(&name, error)))
            .inspect(move |bytes| progress.copied(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)))
            .boxed())
    }
}

/// Whether what is not served may be served later.
fn unreadable(name: &str, error: ServeError) -> EngineError {
    match error {
        ServeError::Trouble(trouble) => EngineError::transient_from(format!("{name} could not be read"), trouble),
        error => EngineError::permanent(
            format!("{name} is not whole: {error}"),
            "restore an earlier backup, or put the repository back from a copy",
        ),
    }
}

// === impl Backup ===

impl Backup {
    /// The part of this name.
    pub fn part(&self, name: &str) -> Result<&Part, EngineError> {
        self.parts.iter().find(|part| part.name == name).ok_or_else(|| self.lacks(&format!("part {name}")))
    }

    /// What the engine noted under this name.
    pub fn note(&self, name: &str) -> Result<&str, EngineError> {
        self.notes.get(name).map(String::as_str).ok_or_else(|| self.lacks(&format!("note {name}")))
    }

    /// Refuses a moment that an engine without a log can not bring back: all but the end of the backup.
    pub fn admit_without_log(&self, until: Until) -> Result<(), EngineError> {
        match until {
            Until::Time(time) if time != self.ended_at => Err(EngineError::permanent(
                format!("{} keeps no log, and {time} is not the moment of the backup, {}", self.engine, self.ended_at),
                "name the moment of a backup, or none",
            )),
            Until::Backup | Until::Latest | Until::Time(_) => Ok(()),
        }
    }

    fn lacks(&self, what: &str) -> EngineError {
        let reason = format!("the backup of {} {} from {} has no {what}", self.engine, self.version, self.began_at);
        EngineError::permanent(reason, "restore another backup")
    }
}

// === impl Check ===

impl Check {
    /// Whether it is the answer to an assertion.
    pub fn asks(&self, assertion: &Assertion) -> bool {
        self.name.strip_prefix("assertion ") == Some(&assertion.query)
    }
}

// === impl Rehearsal ===

impl Rehearsal {
    /// Whether what came back is what it should be. Where nothing was looked at, nothing is proven.
    pub fn is_passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.failure.is_none())
    }
}
