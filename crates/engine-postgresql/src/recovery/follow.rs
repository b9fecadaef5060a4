//! Follows a cluster's log: `pg_receivewal` copies it through a replication slot as it is written, and we bring it into the
//! archive.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_engine::recovery::Archive;
use mainstay_engine::supervise::{EngineUser, confine, end_stragglers};
use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::MissedTickBehavior;

use super::heartbeat::Heart;
use super::keeper::{Keeper, Received};
use super::wal::Lsn;
use crate::admin::failed;
use crate::cluster::Cluster;
use crate::config::PostgresqlConfig;
use crate::data::ENVIRONMENT;
use crate::names::{ADMIN_ROLE, LOG_SLOT};

/// Where `pg_receivewal` writes, beside the data, so that it is there when that is gone.
pub(super) const DIRECTORY: &str = "wal";
/// How often what is new is kept. A commit is in the archive after this and what keeping it takes, which together is to be
/// less than a second.
const PERIOD: Duration = Duration::from_millis(250);
/// How long the server may take to tell where its log ends. Without that the log is kept all the same.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Moments of which it is remembered where the log ended then, until that was received.
const MOST_MOMENTS: usize = 64;
/// The most that `pg_receivewal` says of itself that is kept.
const WORDS: u64 = 16 << 10;

/// Follows the log until that can not go on, and says why.
pub(super) async fn follow(
    cluster: &Cluster,
    config: &PostgresqlConfig,
    spec: &ClusterSpec,
    archive: &Archive,
) -> EngineError {
    match begin(cluster, config, spec, archive).await {
        Err(error) => error,
        Ok(following) => following.go_on().await,
    }
}

/// Keeps what an earlier follower received and did not come to keep.
pub(super) async fn keep_leftovers(cluster: &Cluster, user: &EngineUser, archive: &Archive) -> Result<(), EngineError> {
    let directory = cluster.directory.root().join(DIRECTORY);
    if !directory.exists() {
        return Ok(());
    }
    end_receivers(&directory, user).await?;
    Keeper::new(directory, archive).await?.keep(None).await
}

struct Following<'a> {
    cluster: &'a Cluster,
    spec: &'a ClusterSpec,
    keeper: Keeper<'a>,
    heart: Heart,
    receiver: Child,
    /// Where the log ended at some moments, oldest first.
    moments: VecDeque<Received>,
}

async fn begin<'a>(
    cluster: &'a Cluster,
    config: &PostgresqlConfig,
    spec: &'a ClusterSpec,
    archive: &'a Archive,
) -> Result<Following<'a>, EngineError> {
    let directory = cluster.directory.make(DIRECTORY, &config.user)?;
    end_receivers(&directory, &config.user).await?;
    let mut keeper = Keeper::new(directory.clone(), archive).await?;
    keeper.keep(None).await?;
    let heart = Heart::new(cluster).await?;
    if let Some(gap) = slot(cluster, spec, &keeper).await? {
        // What is left of a segment that will never be whole would be taken for where to go on.
        cluster.directory.make_empty(DIRECTORY, &config.user)?;
        return Err(gap);
    }
    let receiver = receive(cluster, config, spec, &directory)?;
    Ok(Following { cluster, spec, keeper, heart, receiver, moments: VecDeque::new() })
}

/// Sees to it that the server keeps its log for us. Where it did not, and something is missing, that is an error, once: begun
/// again, the log is followed from where it is now.
async fn slot(cluster: &Cluster, spec: &ClusterSpec, keeper: &Keeper<'_>) -> Result<Option<EngineError>, EngineError> {
    let attempt = || failed(format!("the replication slot of cluster {} could not be made", spec.name));
    let status: Option<Option<String>> =
        sqlx::query_scalar("SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1")
            .bind(LOG_SLOT)
            .fetch_optional(cluster.admin.pool())
            .await
            .map_err(attempt())?;
    match status {
        Some(Some(status)) if status != "lost" => return Ok(None),
        Some(_) => {
            let drop = format!("SELECT pg_drop_replication_slot('{LOG_SLOT}')");
            cluster.admin.run(drop).await.map_err(attempt())?;
        }
        None => {}
    }
    let (begin, timeline): (String, i32) = sqlx::query_as(
        "SELECT (SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = made.slot_name), \
         (SELECT timeline_id FROM pg_control_checkpoint()) \
         FROM (SELECT slot_name FROM pg_create_physical_replication_slot($1, true)) made",
    )
    .bind(LOG_SLOT)
    .fetch_one(cluster.admin.pool())
    .await
    .map_err(attempt())?;
    let begin: Lsn = begin.parse().unwrap_or_default();
    match keeper.end(timeline as u32) {
        // A segment is received from its beginning.
        Some(end) if end.segment() < begin.segment() => Ok(Some(EngineError::transient(format!(
            "the log of cluster {} has a gap from {end} to {begin}: the server has not kept it for whoever follows it, and \
             no moment after that can be restored until there is a new backup; make one now",
            spec.name
        )))),
        _ => Ok(None),
    }
}

fn receive(
    cluster: &Cluster,
    config: &PostgresqlConfig,
    spec: &ClusterSpec,
    directory: &Path,
) -> Result<Child, EngineError> {
    let mut command = Command::new(cluster.installation(config)?.program("pg_receivewal"));
    command
        .arg("--directory")
        .arg(directory)
        .args(["--slot", LOG_SLOT, "--synchronous", "--no-loop", "--status-interval=1", "--no-password"])
        .arg("--host")
        .arg(cluster.directory.run())
        .args(["--port", &spec.port.to_string(), "--username", ADMIN_ROLE])
        // By which it is found should it outlive us.
        .current_dir(directory);
    confine(&mut command, &config.user);
    command.envs(ENVIRONMENT).stdout(Stdio::null()).stderr(Stdio::piped());
    let unstarted = |error| EngineError::transient_from("pg_receivewal could not be started", error);
    tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(unstarted)
}

/// Ends a receiver that an earlier control plane left behind, or a call that was dropped: it would hold the slot.
async fn end_receivers(directory: &Path, user: &EngineUser) -> Result<(), EngineError> {
    end_stragglers(directory, user, Duration::ZERO).await.map(drop).map_err(EngineError::transient)
}

impl Following<'_> {
    async fn go_on(mut self) -> EngineError {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                ended = self.receiver.wait() => {
                    let words = self.last_words().await;
                    // What it has received is kept, whatever became of the server.
                    if let Err(error) = self.keeper.keep(None).await {
                        return error;
                    }
                    let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return EngineError::transient(format!(
                        "the log of cluster {} can not be followed now: pg_receivewal ended ({status}): {words}",
                        self.spec.name
                    ));
                }
            }
            let received = match tokio::time::timeout(ANSWER_PATIENCE, self.look()).await {
                Ok(Ok(received)) => received,
                // A server that does not answer is somebody else's to judge; its end ends the receiver.
                Ok(Err(_)) | Err(_) => None,
            };
            if let Err(error) = self.keeper.keep(received).await {
                return error;
            }
        }
    }

    /// How far the log was received, and what is surely before that.
    async fn look(&mut self) -> Result<Option<Received>, sqlx::Error> {
        let now = Timestamp::now();
        let (flushed, inserted, received): (String, String, Option<String>) = sqlx::query_as(
            "SELECT pg_current_wal_flush_lsn()::text, pg_current_wal_insert_lsn()::text, \
             (SELECT flush_lsn::text FROM pg_replication_slots \
              JOIN pg_stat_replication ON pid = active_pid WHERE slot_name = $1)",
        )
        .bind(LOG_SLOT)
        .fetch_one(self.cluster.admin.pool())
        .await?;
        let position = |text: &str| text.parse::<Lsn>().unwrap_or_default();
        if self.moments.len() == MOST_MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back(Received { position: position(&flushed), until: now });
        self.heart.beat(self.cluster, position(&inserted)).await?;
        let Some(received) = received.as_deref().map(position) else { return Ok(None) };
        let before = self.moments.iter().take_while(|moment| moment.position <= received).count();
        Ok(self.moments.drain(..before).next_back().map(|moment| Received { position: received, ..moment }))
    }

    async fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(words) = self.receiver.stderr.take() {
            let _ = words.take(WORDS).read_to_string(&mut text).await;
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(2)..].join(" | ")
    }
}
