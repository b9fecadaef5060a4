//! How a cluster's data is backed up and brought back.
//!
//! ```text
//! WAL sender ──> archive, manifest: two parts ──┐
//! slot ──> pg_receivewal ──> keeper ──> log ─────┴─> scratch cluster ──> looked at, or its data serves, or one database is copied
//! ```
//!
//! Everything that comes back goes through a scratch cluster: what serves is left alone until what comes back is whole.

mod base;
mod follow;
mod heartbeat;
mod keeper;
mod reach;
mod rehearse;
mod replace;
mod restorer;
mod scratch;
mod sender;
mod spool;
mod stream;
mod unpack;
mod wal;
mod whole;

use async_trait::async_trait;
use futures::TryStreamExt;
use mainstay_engine::recovery::{
    Archive, Assertion, Backup, Recovery, Rehearsal, Restored, Salvaged, Scope, Until, Window,
};
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::{InstanceId, Timestamp};

pub(crate) use self::reach::End;
use self::reach::{Base, Goal, Log, Replay};
use self::wal::{LogName, PieceName, System, parse_history};
use crate::PostgresqlEngine;

/// The longest history of timelines that is read: thousands of restores have one of a megabyte.
const LONGEST_HISTORY: u64 = 1 << 20;

#[async_trait]
impl Recovery for PostgresqlEngine {
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn has_log(&self) -> bool {
        true
    }

    async fn back_up(&self, spec: &ClusterSpec, _: &[InstanceSpec], archive: &Archive) -> Result<Backup, EngineError> {
        let cluster = self.running(spec).await?;
        base::back_up(&cluster, spec, self.name(), archive).await
    }

    async fn follow_log(&self, spec: &ClusterSpec, archive: &Archive) -> EngineError {
        match self.running(spec).await {
            Ok(cluster) => follow::follow(&cluster, &self.config, spec, archive).await,
            Err(error) => error,
        }
    }

    async fn trim_log(&self, kept: &[Backup], serving: Option<&str>, archive: &Archive) -> Result<(), EngineError> {
        let bases = kept.iter().map(base::base).collect::<Result<Vec<_>, _>>()?;
        let serving: Option<System> = serving.and_then(|identity| identity.parse().ok());
        let begun = serving.filter(|system| !bases.iter().any(|base| base.system == *system));
        for (text, _) in archive.log.pieces().await? {
            // A later version may keep what this one does not know.
            let Ok(name) = text.parse::<LogName>() else { continue };
            // The next backup of a system that has none may begin with what is there.
            let awaited = name.system.is_some() && name.system == begun;
            if !awaited && !bases.iter().any(|base| base.needs(&name)) {
                archive.log.forget(&text).await?;
            }
        }
        Ok(())
    }

    async fn window(&self, backup: &Backup, archive: &Archive) -> Result<Window, EngineError> {
        let base = base::base(backup)?;
        Ok(log(&base, archive).await?.window(&base))
    }

    async fn restore_cluster(
        &self,
        spec: &ClusterSpec,
        backup: &Backup,
        until: Until,
        archive: &Archive,
    ) -> Result<Restored, EngineError> {
        let salvaged = whole::restore(self, spec, backup, Goal::Until(until), archive).await?;
        Ok(salvaged.restored)
    }

    async fn salvage_cluster(
        &self,
        spec: &ClusterSpec,
        backup: &Backup,
        at: Option<Timestamp>,
        archive: &Archive,
    ) -> Result<Salvaged, EngineError> {
        whole::restore(self, spec, backup, Goal::AsFarAs(at), archive).await
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
        replace::restore(self, spec, instance, origin, backup, until, archive).await
    }

    async fn rehearse(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        backup: &Backup,
        assertions: &[Assertion],
        archive: &Archive,
    ) -> Result<Rehearsal, EngineError> {
        rehearse::rehearse(self, spec, instance, backup, assertions, archive).await
    }

    async fn clear_scratch(&self) -> Result<(), EngineError> {
        scratch::clear(self).await
    }
}

/// What to replay after a backup to come to a moment.
async fn replay(backup: &Backup, goal: Goal, archive: &Archive) -> Result<Replay, EngineError> {
    let base = base::base(backup)?;
    log(&base, archive).await?.replay(&base, goal)
}

/// All that the archive has of the log of the system that a backup is of.
async fn log(base: &Base, archive: &Archive) -> Result<Log, EngineError> {
    let (mut log, mut older) = (Log::default(), Log::default());
    for (text, piece) in archive.log.pieces().await? {
        // A later version may keep what this one does not know.
        let Ok(LogName { system, piece: name }) = text.parse() else { continue };
        if system.is_some_and(|system| system != base.system) {
            continue;
        }
        let switches = match name {
            PieceName::History { .. } if piece.size <= LONGEST_HISTORY => {
                let kept = archive.serve(&format!("piece {text} of the log"), piece.address).await?;
                let bytes: Vec<u8> = kept.map_ok(|bytes| bytes.to_vec()).try_concat().await?;
                parse_history(&String::from_utf8_lossy(&bytes)).map_err(|error| {
                    EngineError::permanent(format!("piece {text} of the log: {error}"), "restore an older backup")
                })?
            }
            _ => Vec::new(),
        };
        let of = if system.is_some() { &mut log } else { &mut older };
        of.add(name, piece, switches);
    }
    Ok(log.completed(older, base))
}
