//! Follows a cluster's log: `pg_receivewal` copies it through a replication slot as it is written, and we bring it into the
//! archive.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::pin;
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
use super::keeper::{Keeper, Received, differs};
use super::spool::Spool;
use super::wal::{Lsn, Segment, System};
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
    let spool = Spool::new(directory);
    for system in spool.systems().await? {
        Keeper::new(spool.clone(), archive, system).await?.keep(None).await?;
    }
    Ok(())
}

struct Following<'a> {
    cluster: &'a Cluster,
    config: &'a PostgresqlConfig,
    spec: &'a ClusterSpec,
    spool: Spool,
    keeper: Keeper<'a>,
    heart: Heart,
    receiver: Child,
    /// Whether it was ended because so much waits to be kept.
    held_back: bool,
    /// Where the log ended at some moments, oldest first.
    moments: VecDeque<Received>,
}

async fn begin<'a>(
    cluster: &'a Cluster,
    config: &'a PostgresqlConfig,
    spec: &'a ClusterSpec,
    archive: &'a Archive,
) -> Result<Following<'a>, EngineError> {
    let directory = cluster.directory.make(DIRECTORY, &config.user)?;
    keep_leftovers(cluster, &config.user, archive).await?;
    let system = system(cluster).await?;
    let spool = Spool::new(directory.clone());
    if spool.systems().await?.iter().any(|of| *of != system) {
        // It is kept, and would be taken for where to go on.
        tracing::warn!(cluster = %spec.name, "what was received of the log of an earlier cluster of this name is removed, and kept in the repository");
        cluster.directory.make_empty(DIRECTORY, &config.user)?;
    }
    spool.remove_stunted()?;
    let keeper = Keeper::new(spool.clone(), archive, system).await?;
    let timeline = match refuse_turned_back(cluster, spec, &keeper).await {
        Ok(timeline) => timeline,
        Err(error) => {
            // It is kept, and would be in the way of a log that is followed into another repository.
            cluster.directory.make_empty(DIRECTORY, &config.user)?;
            return Err(error);
        }
    };
    let heart = Heart::new(cluster).await?;
    if let Some(gap) = slot(cluster, spec, &keeper, timeline).await? {
        // What is left of a segment that will never be whole would be taken for where to go on.
        cluster.directory.make_empty(DIRECTORY, &config.user)?;
        return Err(gap);
    }
    let receiver = receive(cluster, config, spec, &directory)?;
    let (held_back, moments) = (false, VecDeque::new());
    Ok(Following { cluster, config, spec, spool, keeper, heart, receiver, held_back, moments })
}

/// Whose log a server writes.
pub(super) async fn system(cluster: &Cluster) -> Result<System, EngineError> {
    let text: String = sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(cluster.admin.pool())
        .await
        .map_err(failed("the cluster's identity could not be read"))?;
    text.parse().map_err(|error| EngineError::transient_from("the cluster's identity could not be read", error))
}

/// Refuses a server that is behind what is kept of its log on the timeline that it writes now, which this answers. What it writes has
/// the names of what is kept, and is something else.
pub(super) async fn refuse_turned_back(
    cluster: &Cluster,
    spec: &ClusterSpec,
    keeper: &Keeper<'_>,
) -> Result<u32, EngineError> {
    let (position, file): (String, String) =
        sqlx::query_as("SELECT now::text, pg_walfile_name(now) FROM pg_current_wal_insert_lsn() now")
            .fetch_one(cluster.admin.pool())
            .await
            .map_err(failed(format!("where cluster {} writes its log could not be read", spec.name)))?;
    let wrong = |error| EngineError::transient_from(format!("cluster {} writes an unknown log", spec.name), error);
    let position: Lsn = position.parse().map_err(wrong)?;
    let timeline = file.parse::<Segment>().map_err(wrong)?.timeline;
    match keeper.end(timeline) {
        Some(end) if end > position => Err(differs(format!(
            "the log of cluster {} is in the repository until {end}, and its server is at {position} only",
            spec.name
        ))),
        _ => Ok(timeline),
    }
}

/// Sees to it that the server keeps its log for us. Where it did not, and something is missing, that is an error, once: begun
/// again, the log is followed from where it is now.
async fn slot(
    cluster: &Cluster,
    spec: &ClusterSpec,
    keeper: &Keeper<'_>,
    timeline: u32,
) -> Result<Option<EngineError>, EngineError> {
    let attempt = || failed(format!("the replication slot of cluster {} could not be made", spec.name));
    let slot: Option<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT wal_status, restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1")
            .bind(LOG_SLOT)
            .fetch_optional(cluster.admin.pool())
            .await
            .map_err(attempt())?;
    match slot {
        Some((Some(status), Some(held))) if status != "lost" => {
            // A receiver that ends at once has told the server nothing. It would be sent the same segment again and again.
            let kept = held.parse().ok().and_then(|held| keeper.whole_from(timeline, held));
            if let Some(kept) = kept {
                let advance = format!("SELECT pg_replication_slot_advance('{LOG_SLOT}', '{kept}')");
                cluster.admin.run(advance).await.map_err(attempt())?;
            }
            return Ok(None);
        }
        Some(_) => {
            let drop = format!("SELECT pg_drop_replication_slot('{LOG_SLOT}')");
            cluster.admin.run(drop).await.map_err(attempt())?;
        }
        None => {}
    }
    let begin: String = sqlx::query_scalar(
        "SELECT (SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = made.slot_name) \
         FROM (SELECT slot_name FROM pg_create_physical_replication_slot($1, true)) made",
    )
    .bind(LOG_SLOT)
    .fetch_one(cluster.admin.pool())
    .await
    .map_err(attempt())?;
    let begin: Lsn = begin.parse().unwrap_or_default();
    match keeper.end(timeline) {
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
                    if std::mem::take(&mut self.held_back) {
                        match receive(self.cluster, self.config, self.spec, self.spool.path()) {
                            Ok(receiver) => self.receiver = receiver,
                            Err(error) => return error,
                        }
                        continue;
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
            if let Err(error) = self.keep(received).await {
                return error;
            }
        }
    }

    /// Keeps what is there. Where the archive is slower than the log, nothing more is received meanwhile.
    async fn keep(&mut self, received: Option<Received>) -> Result<(), EngineError> {
        let mut kept = pin!(self.keeper.keep(received));
        loop {
            tokio::select! {
                kept = &mut kept => return kept,
                () = tokio::time::sleep(PERIOD) => if !self.held_back && self.spool.is_full() {
                    // Its end is noticed once this is done. Begun again, it goes on where it was.
                    self.held_back = self.receiver.start_kill().is_ok();
                },
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
