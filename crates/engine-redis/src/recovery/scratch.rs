//! A server with the data of a backup that nobody but us can reach: it has a Unix socket in a directory of the engine's user, and no
//! port.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use mainstay_engine::recovery::{Archive, Backup};
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, Machine, Removal};
use mainstay_engine::{ClusterSpec, EngineError};
use mainstay_types::{NodeName, Plan};
use tokio::io::AsyncWriteExt;

use super::notes;
use crate::cluster::Cluster;
use crate::data::{self, Record};
use crate::engine::RedisEngine;

/// What a server without an append-only file reads when it starts.
pub(super) const SNAPSHOT: &str = "dump.rdb";
/// What the machine's other programs and this server's own needs are left of its free memory, in parts of a hundred.
const MEMORY_PERCENT: u64 = 90;

/// The server, until it is removed: when it is told to, when it is dropped, and when the next control plane clears up.
pub(super) struct Scratch {
    pub cluster: Arc<Cluster>,
    removal: Removal,
}

impl Scratch {
    /// Lays the data of a backup out and makes a server serve it to us.
    pub async fn lay_out(engine: &RedisEngine, backup: &Backup, archive: &Archive) -> Result<Self, EngineError> {
        refuse_too_large(backup)?;
        let name = ClusterDirectory::scratch_name(&engine.engine_name())?;
        let cluster = Arc::new(Cluster::new(&engine.config, &name));
        let removal = engine.removals.at_end({
            let (cluster, config) = (cluster.clone(), engine.config.clone());
            async move {
                if let Err(error) = cluster.discard(&config).await {
                    tracing::warn!(directory = %cluster.directory.root().display(), %error, "a scratch cluster is left");
                }
            }
        });
        let scratch = Self { cluster, removal };
        match scratch.serve(engine, backup, archive, name).await {
            Ok(()) => Ok(scratch),
            Err(error) => {
                scratch.remove().await;
                Err(error)
            }
        }
    }

    async fn serve(
        &self,
        engine: &RedisEngine,
        backup: &Backup,
        archive: &Archive,
        name: mainstay_types::ClusterName,
    ) -> Result<(), EngineError> {
        let (directory, config) = (&self.cluster.directory, &engine.config);
        directory.prepare(&config.user)?;
        let record: Record = data::initialise(directory, &config.user)?;
        // Its port is never opened.
        data::keep_closed(directory, true)?;
        archive.progress.stage("reading the backup");
        write_data(backup, archive, &directory.data().join(SNAPSHOT), &config.user).await?;
        archive.progress.stage("loading the data");
        // It evicts nothing, and keeps nothing on disk.
        let parameters = [
            ("memory_mib", Machine::look(&config.clusters_dir).memory_mib.to_string()),
            ("persistence", "cache".to_owned()),
            ("eviction", "noeviction".to_owned()),
        ];
        let spec = ClusterSpec {
            name,
            node: NodeName::local(),
            plan: Plan::Dedicated,
            port: 0,
            parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            identity: Some(record.identity),
        };
        self.cluster.start(config, &spec).await.map(drop)
    }

    /// Ends and removes it.
    pub async fn remove(self) {
        self.removal.now().await;
    }
}

/// Removes what control planes that are gone have left.
pub(super) async fn clear(engine: &RedisEngine) -> Result<(), EngineError> {
    engine.removals.finished().await;
    for name in ClusterDirectory::scratch_names(&engine.config.clusters_dir, &engine.engine_name()) {
        let cluster = Cluster::new(&engine.config, &name);
        match cluster.directory.lock() {
            Ok(lock) => drop(lock),
            // It is in use.
            Err(mainstay_engine::supervise::DirectoryError::Locked { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        cluster.discard(&engine.config).await?;
    }
    Ok(())
}

/// Writes the data of a backup into a file of the engine's user. What is not all there is an error that names the part.
pub(super) async fn write_data(
    backup: &Backup,
    archive: &Archive,
    path: &Path,
    user: &EngineUser,
) -> Result<(), EngineError> {
    let mut bytes = archive.read(backup.part(notes::DATA)?).await?;
    let failed =
        |error: std::io::Error| EngineError::transient_from(format!("{} could not be written", path.display()), error);
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).await.map_err(failed)?;
    while let Some(piece) = bytes.try_next().await? {
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let file = file.into_std().await;
    std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid)).map_err(failed)?;
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.map_err(std::io::Error::other).and_then(|synced| synced).map_err(failed)
}

/// A scratch server must not drive the machine's others out of memory.
fn refuse_too_large(backup: &Backup) -> Result<(), EngineError> {
    let available = available_memory();
    match (notes::memory(backup), available) {
        (Some(needed), Some(available)) if needed > available / 100 * MEMORY_PERCENT => {
            Err(EngineError::transient(format!(
                "the backup needs {} MiB of memory to be looked at, and the machine has {} MiB free",
                needed >> 20,
                available >> 20
            )))
        }
        _ => Ok(()),
    }
}

/// What can be taken without swapping, in bytes (proc_meminfo(5)).
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
