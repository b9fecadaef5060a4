//! Scratch clusters: a backup laid out beside the clusters that serve, replayed to a moment, out of everybody's reach.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use mainstay_engine::recovery::{Archive, Backup, Kept, LogPiece};
use mainstay_engine::supervise::{ClusterDirectory, EngineLog, Removal, Signal, run_program, write_file};
use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::{Parameters, Plan};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::base::{BASE, MANIFEST};
use super::reach::{End, Replay};
use super::stream;
use super::unpack::{sync, unpack};
use super::wal::{PieceName, SEGMENT_BYTES};
use crate::PostgresqlEngine;
use crate::cluster::{Cluster, RECOVERY_PATIENCE};
use crate::config::PostgresqlConfig;
use crate::data::ENVIRONMENT;
use crate::settings::{self, ScratchInputs};

/// Where the log lies that is replayed.
const WAL: &str = "wal";
/// The slowest that data is looked through, in bytes a second: a tenth of what a hard disk reads.
const SLOWEST_READ: u64 = 10 << 20;
/// The slowest that the log is replayed, in bytes a second; 120 MB/s are usual.
const SLOWEST_REPLAY: u64 = 4 << 20;
/// What looking through data takes at least, however little there is.
const LEAST_PATIENCE: Duration = Duration::from_secs(120);
/// What a server says that has gone through all of its log before the moment that it was to stop at. That nothing was
/// committed after that moment is no fault: then its end is where to stop.
const ENDED_BEFORE: &str = "recovery ended before configured recovery target was reached";

/// The lines of a server's log that it says that in, and what comes of it.
const EXPLAINING_LINES: usize = 20;

/// How long who unpacks a backup may take to notice that nobody waits for that any more, and until then makes files.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What becomes of a scratch cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is looked through with all means there are, and removed.
    Look,
    /// A database is copied from it, and it is removed.
    Copy,
    /// Its data will serve.
    Serve,
}

/// A scratch cluster. It is removed with [`Scratch::remove`], and by itself when it is dropped.
pub(super) struct Scratch<'a> {
    pub cluster: Arc<Cluster>,
    pub engine: &'a PostgresqlEngine,
    /// Files in its data directory.
    pub files: u64,
    /// Why the log was not replayed to its goal, where a damaged piece of it ended that.
    pub given_up: Option<String>,
    spec: ClusterSpec,
    purpose: Purpose,
    size: u64,
    removal: Option<Removal>,
    /// Why it was not removed, where it was not.
    left: Arc<Mutex<Option<EngineError>>>,
}

impl<'a> Scratch<'a> {
    /// Lays a backup out, verifies it, and replays the log to where that is to end. Then its server answers.
    pub async fn restore(
        engine: &'a PostgresqlEngine,
        of: &ClusterSpec,
        backup: &Backup,
        replay: &Replay,
        purpose: Purpose,
        archive: &Archive,
    ) -> Result<Self, EngineError> {
        let mut scratch = Self::new(engine, of, backup, purpose)?;
        match scratch.lay_out(backup, replay, archive).await {
            Ok(()) => Ok(scratch),
            Err(error) => {
                scratch.remove().await?;
                Err(error)
            }
        }
    }

    fn new(
        engine: &'a PostgresqlEngine,
        of: &ClusterSpec,
        backup: &Backup,
        purpose: Purpose,
    ) -> Result<Self, EngineError> {
        let name = ClusterDirectory::scratch_name(engine.name())?;
        let (node, port) = (of.node.clone(), of.port);
        let spec =
            ClusterSpec { name, node, plan: Plan::Dedicated, port, parameters: Parameters::default(), identity: None };
        let size = backup.part(BASE)?.size;
        // The engine knows it as long as it is there, so that it is stopped with all others.
        let (cluster, left) = (engine.cluster(&spec), Arc::<Mutex<_>>::default());
        let removal = engine.removals.at_end({
            let (cluster, config, left) = (cluster.clone(), engine.config.clone(), left.clone());
            let forget = engine.forgetter(&spec.name);
            async move {
                if let Err(error) = remove(&cluster, &config).await {
                    tracing::warn!(directory = %cluster.directory.root().display(), %error, "a scratch cluster is left");
                    *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                forget();
            }
        });
        Ok(Self { cluster, engine, files: 0, given_up: None, spec, purpose, size, removal: Some(removal), left })
    }

    /// Stops it and removes all of it.
    pub async fn remove(mut self) -> Result<(), EngineError> {
        if let Some(removal) = self.removal.take() {
            removal.now().await;
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Stops it in order; its data stays.
    pub async fn stop(&self) -> Result<(), EngineError> {
        self.cluster.stop(&self.engine.config).await
    }

    /// Runs one of the server's programs on it, as the engine's user; an error is what it found wrong.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<String, EngineError> {
        let config = &self.engine.config;
        let mut command = Command::new(self.cluster.installation(config)?.program(program));
        command.args(arguments).current_dir("/");
        let output = run_program(command, &ENVIRONMENT, &config.user, self.patience()).await?;
        let (output, words) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(format!("{output}{words}"))
    }

    pub fn socket(&self) -> PathBuf {
        self.cluster.directory.run()
    }

    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// The longest that all of it takes to be read.
    fn patience(&self) -> Duration {
        LEAST_PATIENCE + Duration::from_secs(self.size / SLOWEST_READ)
    }

    async fn lay_out(&mut self, backup: &Backup, replay: &Replay, archive: &Archive) -> Result<(), EngineError> {
        let (config, directory) = (&self.engine.config, self.cluster.directory.clone());
        let progress = &archive.progress;
        directory.socket(&format!(".s.PGSQL.{}.lock", self.spec.port))?;
        self.cluster.claim(config).await?;

        progress.stage("reading the backup");
        let data = directory.make_empty("data", &config.user)?;
        let base = stream::part(archive, backup.part(BASE)?).await?;
        let lasting = self.purpose == Purpose::Serve;
        self.files = unpack(base, data.clone(), &config.user, lasting).await?;
        if let Ok(manifest) = backup.part(MANIFEST) {
            let manifest = stream::part(archive, manifest).await?;
            self.lay_out_file(manifest, &data.join("backup_manifest"), 0, None).await?;
        }
        if self.purpose == Purpose::Look {
            progress.stage("verifying the backup");
            self.verify(&data).await?;
        }

        progress.stage("reading the log");
        let wal = directory.make_empty(WAL, &config.user)?;
        let log_size = self.lay_out_log(&wal, replay, archive).await?;
        progress.stage("replaying the log");
        if lasting {
            sync(data.clone()).await?;
        }
        write_file(&data, "postgresql.auto.conf", "", &config.user)?;
        write_file(&data, "recovery.signal", "", &config.user)?;
        let patience = RECOVERY_PATIENCE + Duration::from_secs(log_size / SLOWEST_REPLAY);
        match self.start(&wal, replay.timeline, replay.end, patience).await {
            Err(_) if EngineLog::new(&directory).last_lines(EXPLAINING_LINES, 0).contains(ENDED_BEFORE) => {
                self.start(&wal, replay.timeline, End::Pieces, patience).await
            }
            started => started,
        }
    }

    async fn start(&self, wal: &Path, timeline: u32, end: End, patience: Duration) -> Result<(), EngineError> {
        let inputs = ScratchInputs {
            cluster: &self.spec,
            socket_directory: &self.socket(),
            wal,
            timeline,
            end,
            lasting: self.purpose == Purpose::Serve,
        };
        let config = &self.engine.config;
        let files = self.cluster.scratch_files(config, settings::render_scratch(&inputs));
        self.cluster.start_scratch(config, &files, patience).await
    }

    /// Holds the files against what the server wrote down of them. That they are what was kept is known by then.
    async fn verify(&self, data: &Path) -> Result<(), EngineError> {
        let verified = self.run("pg_verifybackup", &["--no-parse-wal", "--quiet", &data.to_string_lossy()]).await;
        verified.map(|_| ()).map_err(|error| {
            EngineError::permanent(format!("part {BASE} of the backup is not whole: {error}"), "restore another backup")
        })
    }

    /// Writes the segments that are replayed; answers their bytes.
    async fn lay_out_log(&mut self, wal: &Path, replay: &Replay, archive: &Archive) -> Result<u64, EngineError> {
        let mut size = 0;
        for (name, piece) in &replay.pieces {
            match self.lay_out_piece(wal, name, piece, archive).await {
                // What came of it before the damage is good, and zeros end the log after that.
                Err(EngineError::Permanent { reason, .. }) if replay.can_end_before(name) => {
                    tracing::warn!(piece = %name, reason, "the log is replayed to before a piece that is damaged");
                    self.given_up = Some(reason);
                    break;
                }
                laid_out => laid_out?,
            }
            size += piece.size;
        }
        Ok(size)
    }

    async fn lay_out_piece(
        &self,
        wal: &Path,
        name: &PieceName,
        piece: &LogPiece,
        archive: &Archive,
    ) -> Result<(), EngineError> {
        let (file, offset, padded) = match name {
            PieceName::History { .. } => (name.to_string(), 0, None),
            PieceName::Whole(segment) => (segment.to_string(), 0, Some(SEGMENT_BYTES)),
            PieceName::Increment { segment, offset } => (segment.to_string(), *offset, Some(SEGMENT_BYTES)),
        };
        let kept = archive.serve(&format!("piece {name} of the log"), piece.address).await?;
        self.lay_out_file(kept, &wal.join(&file), offset.into(), padded).await
    }

    /// Writes a file, or a part of it. We write as root where the engine's user can too: through no link that it may have made.
    async fn lay_out_file(
        &self,
        mut kept: Kept,
        path: &Path,
        offset: u64,
        padded: Option<u64>,
    ) -> Result<(), EngineError> {
        let failed = |error| EngineError::transient_from(format!("{} could not be written", path.display()), error);
        let mut options = tokio::fs::OpenOptions::new();
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let mut writer = options.open(path).await.map_err(failed)?;
        let user = &self.engine.config.user;
        std::os::unix::fs::fchown(&writer, Some(user.uid), Some(user.gid)).map_err(failed)?;
        if let Some(padded) = padded {
            writer.set_len(padded).await.map_err(failed)?;
        }
        writer.seek(std::io::SeekFrom::Start(offset)).await.map_err(failed)?;
        while let Some(bytes) = kept.next().await {
            writer.write_all(&bytes?).await.map_err(failed)?;
        }
        writer.flush().await.map_err(failed)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // It serves nobody from now on, however long its removal takes.
        self.cluster.signal(Signal::KILL);
    }
}

/// Removes the scratch clusters that nobody of this control plane uses.
pub(super) async fn clear(engine: &PostgresqlEngine) -> Result<(), EngineError> {
    engine.removals.finished().await;
    let config = &engine.config;
    for name in ClusterDirectory::scratch_names(&config.clusters_dir, engine.name()) {
        if engine.known(&name).is_none() {
            remove(&Cluster::of_name(config, &name), config).await?;
            tracing::info!(cluster = %name, "removed a scratch cluster that was left behind");
        }
    }
    Ok(())
}

async fn remove(cluster: &Cluster, config: &PostgresqlConfig) -> Result<(), EngineError> {
    cluster.stop_at_once(config).await?;
    let deadline = Instant::now() + WRITER_PATIENCE;
    loop {
        match cluster.remove().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
            removed => return removed,
        }
    }
}
