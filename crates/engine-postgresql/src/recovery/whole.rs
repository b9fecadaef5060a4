//! A whole cluster comes back: restored beside, then put in the place of what was there.

use std::path::{Path, PathBuf};
use std::{fs, io};

use mainstay_engine::recovery::{Archive, Backup, LogPiece, Restored, Salvaged};
use mainstay_engine::supervise::refuse_another;
use mainstay_engine::{ClusterSpec, Engine, EngineError};
use mainstay_types::Timestamp;

use super::reach::Goal;
use super::scratch::{Purpose, Scratch};
use super::wal::{LogName, PieceName};
use super::{follow, replace, replay, stream};
use crate::PostgresqlEngine;
use crate::admin::failed;
use crate::cluster::Cluster;
use crate::data;
use crate::names::LOG_SLOT;

/// What the data is called that was there, until what was restored serves.
const ASIDE: &str = "data.old";

pub(super) async fn restore(
    engine: &PostgresqlEngine,
    spec: &ClusterSpec,
    backup: &Backup,
    goal: Goal,
    archive: &Archive,
) -> Result<Salvaged, EngineError> {
    let config = &engine.config;
    let cluster = engine.cluster(spec);
    cluster.stop(config).await?;
    // What was received last, and of which nobody has told yet that it is kept.
    follow::keep_leftovers(&cluster, &config.user, archive).await?;
    let replay = replay(backup, goal, archive).await?;

    let scratch = Scratch::restore(engine, spec, backup, &replay, Purpose::Serve, archive).await?;
    let given_up = scratch.given_up.clone().or(replay.gap);
    let settled = settle(&scratch, &cluster, engine, spec, archive).await;
    // Its directory, without its data where that serves now.
    let removed = scratch.remove().await;
    let newest = settled?.unwrap_or(backup.ended_at);
    removed?;
    let started = engine.start(spec).await?;
    let lost = given_up.map(|why| format!("what was committed after {newest} is lost: {why}"));
    Ok(Salvaged { restored: Restored { identity: started.identity, version: started.version, newest }, lost })
}

/// Puts the data of a scratch cluster in the place of the cluster's, and answers the newest change in it.
async fn settle(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    engine: &PostgresqlEngine,
    spec: &ClusterSpec,
    archive: &Archive,
) -> Result<Option<Timestamp>, EngineError> {
    let config = &engine.config;
    archive.progress.stage("putting the data in its place");
    let newest = replace::newest(scratch).await?;
    // Made before anybody writes, so that nothing of the new timeline is missing from the log.
    let slot = format!("SELECT pg_create_physical_replication_slot('{LOG_SLOT}', true)");
    scratch.cluster.admin.run(slot).await.map_err(failed("the replication slot could not be made"))?;
    scratch.stop().await?;
    let installation = scratch.cluster.installation(config)?;
    let identity = data::identity(&scratch.cluster.directory, &installation, &config.user).await?;
    refuse_another(&spec.name, spec.identity.as_deref(), "system identifier", &identity)?;
    let histories = keep_histories(&scratch.cluster.directory.data(), &identity, archive).await?;
    if let Err(error) = serve(scratch, cluster, engine, spec).await {
        // What serves, if anything does, is on the timeline that was to be left, and with this history the log that it goes on
        // writing would be no part of what can be restored. Data that serves after all tells its history anew.
        for name in &histories {
            if let Err(error) = archive.log.forget(name).await {
                tracing::warn!(cluster = %spec.name, name, %error, "a timeline that never served is not forgotten; make a backup");
            }
        }
        return Err(error);
    }
    remove_aside(cluster.directory.root().to_owned()).await?;
    Ok(newest)
}

/// Lets the restored data serve in the place of what was there, or puts that back.
async fn serve(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    engine: &PostgresqlEngine,
    spec: &ClusterSpec,
) -> Result<(), EngineError> {
    let config = &engine.config;
    cluster.claim(config).await?;
    // Received of the timeline that is left now, and kept.
    cluster.directory.make_empty(follow::DIRECTORY, &config.user)?;
    let (root, new) = (cluster.directory.root().to_owned(), scratch.cluster.directory.data());
    swap(root.clone(), new).await?;
    if let Err(error) = engine.start(spec).await {
        cluster.stop(config).await?;
        put_back(root).await?;
        return Err(error);
    }
    Ok(())
}

/// Keeps the history of the timeline that begins with a restore. Its moment tells from when on that timeline is what was
/// served. Answers the names that were not known before.
async fn keep_histories(data: &Path, identity: &str, archive: &Archive) -> Result<Vec<String>, EngineError> {
    let directory = data.join("pg_wal");
    let unread = |error| EngineError::transient_from("the history of the new timeline could not be read", error);
    let system = identity.parse().map_err(|error| unread(io::Error::other(error)))?;
    let known = archive.log.pieces().await?;
    let mut kept = Vec::new();
    for entry in fs::read_dir(&directory).map_err(unread)? {
        let Some(file) = entry.map_err(unread)?.file_name().to_str().map(str::to_owned) else { continue };
        let Ok(piece @ PieceName::History { .. }) = file.parse() else { continue };
        let name = LogName { system: Some(system), piece }.to_string();
        if known.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let source = stream::file(&directory.join(&file), 0, super::LONGEST_HISTORY).await.map_err(unread)?;
        let receipt = archive.ingest_log(&format!("piece {name} of the log"), source).await?;
        let piece = LogPiece {
            address: receipt.address,
            size: receipt.size,
            until: Timestamp::now(),
            system: Some(identity.to_owned()),
        };
        archive.log.record(&name, &piece).await?;
        kept.push(name);
    }
    Ok(kept)
}

async fn swap(root: PathBuf, new: PathBuf) -> Result<(), EngineError> {
    on_disk("the data that was restored could not be put in its place", move || {
        let (data, aside) = (root.join("data"), root.join(ASIDE));
        if data.exists() {
            // From a restore whose end was not seen: what came of it is in `data`.
            remove(&aside)?;
            fs::rename(&data, &aside)?;
        }
        fs::rename(&new, &data)?;
        fs::File::open(&root)?.sync_all()
    })
    .await
}

async fn put_back(root: PathBuf) -> Result<(), EngineError> {
    on_disk("the data that was put aside could not be put back", move || {
        let (data, aside) = (root.join("data"), root.join(ASIDE));
        if aside.exists() {
            remove(&data)?;
            fs::rename(&aside, &data)?;
        }
        fs::File::open(&root)?.sync_all()
    })
    .await
}

async fn remove_aside(root: PathBuf) -> Result<(), EngineError> {
    on_disk("the data that was replaced could not be removed", move || remove(&root.join(ASIDE))).await
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn on_disk(
    failed: &'static str,
    act: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), EngineError> {
    let done = tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| EngineError::transient_from(failed, error))
}
