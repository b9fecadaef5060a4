//! Base backups: `pg_basebackup` streams a whole cluster while it is used.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mainstay_engine::recovery::{Archive, Backup, Part};
use mainstay_engine::supervise::confine;
use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::{EngineName, Timestamp};
use tokio::io::AsyncReadExt;

use super::heartbeat;
use super::reach::Base;
use super::stream::stream;
use super::wal::{Lsn, PieceName, Segment};
use crate::admin::failed;
use crate::cluster::Cluster;
use crate::config::PostgresqlConfig;
use crate::data::ENVIRONMENT;
use crate::names::ADMIN_ROLE;

/// The part that the data directory is, as a tar archive with its `backup_manifest` at the end.
pub(super) const BASE: &str = "base";
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
/// How much of the end of a base backup is looked at: what the manifest says of the log, its own digest, and what fills the
/// archive up to a multiple of 10 KiB.
const TAIL_BYTES: usize = 32 << 10;
/// The most that `pg_basebackup` says of itself that is kept.
const WORDS: u64 = 64 << 10;

/// Copies a whole cluster while it is used.
pub(super) async fn back_up(
    cluster: &Cluster,
    config: &PostgresqlConfig,
    spec: &ClusterSpec,
    engine: &EngineName,
    archive: &Archive,
) -> Result<Backup, EngineError> {
    refuse_tablespaces(cluster, spec).await?;
    let heartbeat = heartbeat::number(cluster).await?;
    let (identity, version): (String, String) = sqlx::query_as(
        "SELECT system_identifier::text, split_part(current_setting('server_version'), ' ', 1) FROM pg_control_system()",
    )
    .fetch_one(cluster.admin.pool())
    .await
    .map_err(failed("the cluster's identity could not be read"))?;

    archive.progress.stage("copying the cluster");
    let began_at = Timestamp::now();
    let (part, range) = copy(cluster, config, spec, archive).await?;
    let ended_at = Timestamp::now();
    let notes = [
        (IDENTITY, identity),
        (START, range.start.to_string()),
        (STOP, range.stop.to_string()),
        (TIMELINE, range.timeline.to_string()),
        (HEARTBEAT, heartbeat.to_string()),
    ];
    let notes: BTreeMap<String, String> = notes.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();

    archive.progress.stage("waiting for the log");
    until_log_is_kept(&range, spec, archive).await?;
    Ok(Backup { engine: engine.clone(), version, parts: vec![part], began_at, ended_at, notes, uncovered: Vec::new() })
}

/// What the notes of a backup say of its log.
pub(super) fn base(backup: &Backup) -> Result<Base, EngineError> {
    fn parsed<T: std::str::FromStr>(backup: &Backup, note: &str) -> Result<T, EngineError> {
        let text = backup.note(note)?;
        let wrong = || EngineError::permanent(format!("the backup's {note} is {text:?}"), "restore another backup");
        text.parse().map_err(|_| wrong())
    }
    Ok(Base {
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

async fn copy(
    cluster: &Cluster,
    config: &PostgresqlConfig,
    spec: &ClusterSpec,
    archive: &Archive,
) -> Result<(Part, Range), EngineError> {
    let installation = cluster.installation(config)?;
    let mut command = Command::new(installation.program("pg_basebackup"));
    command
        .args(["--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-password"])
        // Quicker than SHA-256, and enough: the archive has digests of its own.
        .args(["--manifest-checksums=CRC32C", "--label=mainstay"])
        .arg("--host")
        .arg(cluster.directory.run())
        .args(["--port", &spec.port.to_string(), "--username", ADMIN_ROLE])
        .current_dir("/");
    confine(&mut command, &config.user);
    command.envs(ENVIRONMENT).stdout(Stdio::piped()).stderr(Stdio::piped());
    let unstarted = |error| EngineError::transient_from("pg_basebackup could not be started", error);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(unstarted)?;
    let (Some(output), Some(words)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(EngineError::transient("pg_basebackup has no output"));
    };
    let end = async move {
        let mut text = String::new();
        words.take(WORDS).read_to_string(&mut text).await?;
        let status = child.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(EngineError::transient(format!("pg_basebackup failed: {}", last_words(&text))).into()),
        }
    };
    let tail = Arc::new(Mutex::new(Vec::new()));
    let source = stream(output, end).inspect_ok({
        let tail = tail.clone();
        move |piece| keep_tail(&mut tail.lock().unwrap_or_else(PoisonError::into_inner), piece)
    });
    let part = archive.keep(BASE, Box::pin(source)).await?;
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).split_off(0);
    let range = range(&String::from_utf8_lossy(&tail)).ok_or_else(|| {
        EngineError::permanent(
            format!("the manifest of PostgreSQL {} does not tell which log it needs", installation.version),
            "report this with the version of PostgreSQL",
        )
    })?;
    Ok((part, range))
}

/// Keeps the end of a stream.
fn keep_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
    tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
}

/// The log that a backup needs, as its manifest tells it near its end: `"WAL-Ranges": [{ "Timeline": 1, "Start-LSN":
/// "0/2000028", "End-LSN": "0/2000100" }]` (PostgreSQL, 78.1).
fn range(manifest: &str) -> Option<Range> {
    let (_, ranges) = manifest.rsplit_once("\"WAL-Ranges\"")?;
    let (range, _) = ranges.split_once('}')?;
    let field = |name: &str| {
        let (_, value) = range.split_once(&format!("\"{name}\":"))?;
        Some(value.split([',', '\n']).next()?.trim().trim_matches('"'))
    };
    Some(Range {
        timeline: field("Timeline")?.parse().ok()?,
        start: field("Start-LSN")?.parse().ok()?,
        stop: field("End-LSN")?.trim_end_matches([' ', '"']).parse().ok()?,
    })
}

fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
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
async fn until_log_is_kept(range: &Range, spec: &ClusterSpec, archive: &Archive) -> Result<(), EngineError> {
    let needed = range.start.segment()..=range.stop.last_segment();
    let mut missing: Vec<String> =
        needed.map(|number| PieceName::Whole(Segment { timeline: range.timeline, number }).to_string()).collect();
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

#[cfg(test)]
mod tests {
    use super::{keep_tail, range};
    use crate::recovery::wal::Lsn;

    #[test]
    fn the_log_that_a_manifest_names() {
        let manifest = "\"Files\": [\n{ \"Path\": \"WAL-Ranges\", \"Size\": 1 }],\n\"WAL-Ranges\": [\n\
                        { \"Timeline\": 2, \"Start-LSN\": \"0/4000028\", \"End-LSN\": \"0/4000138\" }\n],\n\
                        \"Manifest-Checksum\": \"00\"}\n\0\0\0";
        let mut tail = Vec::new();
        for piece in manifest.as_bytes().chunks(7) {
            keep_tail(&mut tail, piece);
        }
        let found = range(&String::from_utf8(tail).unwrap()).unwrap();
        assert_eq!((found.timeline, found.start, found.stop), (2, Lsn(0x400_0028), Lsn(0x400_0138)));
        assert!(range("nothing of it").is_none());
    }
}
