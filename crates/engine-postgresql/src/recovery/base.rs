//! Base backups: a whole cluster is copied while it is used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mainstay_engine::recovery::{Archive, Backup, Part};
use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::{EngineName, Timestamp};

use super::keeper::Keeper;
use super::reach::Base;
use super::sender::Copy;
use super::spool::Spool;
use super::wal::{LogName, Lsn, PieceName, Segment, System};
use super::{follow, heartbeat};
use crate::admin::failed;
use crate::cluster::Cluster;

/// The part that the data directory is, as a tar archive.
pub(super) const BASE: &str = "base";
/// The part that the server's `backup_manifest` is. Backups of earlier versions have it at the end of the archive.
pub(super) const MANIFEST: &str = "manifest";
/// Where the log that a backup needs begins and ends, and on which timeline.
const START: &str = "start";
const STOP: &str = "stop";
const TIMELINE: &str = "timeline";
/// Tells the cluster from every other.
const IDENTITY: &str = "system_identifier";
/// The number of the heartbeat before the backup, which what is restored has reached.
const HEARTBEAT: &str = "heartbeat";
/// How long the log that a backup needs may take to be in the archive, after the backup is. More than an archive that is
/// for a moment out of reach takes to come back.
const LOG_PATIENCE: Duration = Duration::from_secs(300);
/// How often is looked for it. Looking lists the catalogue.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Copies a whole cluster while it is used.
pub(super) async fn back_up(
    cluster: &Cluster,
    spec: &ClusterSpec,
    engine: &EngineName,
    archive: &Archive,
) -> Result<Backup, EngineError> {
    refuse_tablespaces(cluster, spec).await?;
    let heartbeat = heartbeat::number(cluster).await?;
    let system = follow::system(cluster).await?;
    let version: String = sqlx::query_scalar("SELECT split_part(current_setting('server_version'), ' ', 1)")
        .fetch_one(cluster.admin.pool())
        .await
        .map_err(failed("the cluster's version could not be read"))?;
    let keeper = Keeper::new(Spool::new(cluster.directory.root().join(follow::DIRECTORY)), archive, system).await?;
    follow::refuse_turned_back(cluster, spec, &keeper).await?;

    archive.progress.stage("copying the cluster");
    let began_at = Timestamp::now();
    let (parts, range) = copy(cluster, spec, archive).await?;
    let ended_at = Timestamp::now();
    let notes = [
        (IDENTITY, system.to_string()),
        (START, range.start.to_string()),
        (STOP, range.stop.to_string()),
        (TIMELINE, range.timeline.to_string()),
        (HEARTBEAT, heartbeat.to_string()),
    ];
    let notes: BTreeMap<String, String> = notes.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();

    archive.progress.stage("waiting for the log");
    until_log_is_kept(system, &range, spec, archive).await?;
    Ok(Backup { engine: engine.clone(), version, parts, began_at, ended_at, notes, uncovered: Vec::new() })
}

/// What the notes of a backup say of its log.
pub(super) fn base(backup: &Backup) -> Result<Base, EngineError> {
    fn parsed<T: std::str::FromStr>(backup: &Backup, note: &str) -> Result<T, EngineError> {
        let text = backup.note(note)?;
        let wrong = || EngineError::permanent(format!("the backup's {note} is {text:?}"), "restore another backup");
        text.parse().map_err(|_| wrong())
    }
    Ok(Base {
        system: parsed(backup, IDENTITY)?,
        timeline: parsed(backup, TIMELINE)?,
        start: parsed(backup, START)?,
        stop: parsed(backup, STOP)?,
        ended_at: backup.ended_at,
    })
}

/// The number of the heartbeat that what is restored from a backup has reached.
pub(super) fn heartbeat(backup: &Backup) -> Result<i64, EngineError> {
    let text = backup.note(HEARTBEAT)?;
    let wrong = || EngineError::permanent(format!("the backup's heartbeat is {text:?}"), "restore another backup");
    text.parse().map_err(|_| wrong())
}

/// A log between two positions of a timeline.
struct Range {
    timeline: u32,
    start: Lsn,
    stop: Lsn,
}

async fn copy(cluster: &Cluster, spec: &ClusterSpec, archive: &Archive) -> Result<(Vec<Part>, Range), EngineError> {
    let copy = Copy::begin(&cluster.directory.run().join(format!(".s.PGSQL.{}", spec.port))).await?;
    let base = archive.keep(BASE, copy.archive()).await?;
    let manifest = archive.keep(MANIFEST, copy.manifest()).await?;
    let (timeline, start) = (copy.timeline, copy.start);
    Ok((vec![base, manifest], Range { timeline, start, stop: copy.finish().await? }))
}

/// A tablespace lies outside of the data directory, where a restore would have to write too.
async fn refuse_tablespaces(cluster: &Cluster, spec: &ClusterSpec) -> Result<(), EngineError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT spcname::text FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1",
    )
    .fetch_all(cluster.admin.pool())
    .await
    .map_err(failed("the tablespaces could not be listed"))?;
    if names.is_empty() {
        return Ok(());
    }
    Err(EngineError::permanent(
        format!("cluster {} has tablespaces outside of its data directory: {}", spec.name, names.join(", ")),
        "move what is in them with ALTER TABLE ... SET TABLESPACE pg_default, and drop them",
    ))
}

/// The end of a backup makes the server begin a new segment, so that the last one that it needs comes to its end even where
/// nobody writes. Whoever follows the log keeps it.
async fn until_log_is_kept(
    system: System,
    range: &Range,
    spec: &ClusterSpec,
    archive: &Archive,
) -> Result<(), EngineError> {
    let needed = range.start.segment()..=range.stop.last_segment();
    let name = |number| PieceName::Whole(Segment { timeline: range.timeline, number });
    let mut missing: Vec<String> =
        needed.map(|number| LogName { system: Some(system), piece: name(number) }.to_string()).collect();
    let deadline = Instant::now() + LOG_PATIENCE;
    loop {
        let pieces = archive.log.pieces().await?;
        missing.retain(|name| pieces.binary_search_by(|(found, _)| found.as_str().cmp(name)).is_err());
        let Some(first) = missing.first() else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(EngineError::transient(format!(
                "segment {first} of the log of cluster {}, which its backup needs, was not kept within {LOG_PATIENCE:?}; \
                 the log is not followed, or the archive is too slow for it",
                spec.name
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
