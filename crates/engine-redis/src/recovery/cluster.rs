//! A whole cluster laid out anew from a backup, in the place of what is there.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use mainstay_engine::recovery::{Archive, Backup, Restored};
use mainstay_engine::supervise::{ClusterDirectory, read_file, write_file};
use mainstay_engine::{ClusterSpec, Engine, EngineError};

use super::notes;
use super::scratch::{SNAPSHOT, write_data};
use crate::config::RedisConfig;
use crate::data::{self, Record};
use crate::engine::RedisEngine;
use crate::offering::{self, Persistence};

/// Where the new data is put together, and where the old is kept until the new one serves.
const NEW: &str = "data.restored";
const OLD: &str = "data.replaced";
/// What a server with an append-only file reads when it starts: its base, which is a snapshot, and the list that names it. A snapshot
/// elsewhere it does not read at all.
const APPEND_ONLY: &str = "appendonlydir";
const BASE: &str = "appendonly.aof.1.base.rdb";
const MANIFEST: &str = "appendonly.aof.manifest";

/// Lays it out and makes it serve. What is there stays until the backup was read and found whole.
pub(super) async fn restore(
    engine: &RedisEngine,
    spec: &ClusterSpec,
    backup: &Backup,
    archive: &Archive,
) -> Result<Restored, EngineError> {
    let cluster = engine.cluster(&spec.name);
    let record = notes::record(backup)?;
    archive.progress.stage("reading the backup");
    cluster.directory.prepare(&engine.config.user)?;
    lay_out(&engine.config, &cluster.directory, spec, &record, backup, archive).await?;
    archive.progress.stage("loading the data");
    engine.stop(spec).await?;
    swap(cluster.directory.root()).map_err(|error| {
        EngineError::transient_from(format!("the data of cluster {} could not be replaced", spec.name), error)
    })?;
    let identity = spec.identity.clone().unwrap_or_else(|| record.identity.clone());
    let started = if identity == record.identity {
        cluster.start(&engine.config, spec).await?
    } else {
        // It is another cluster's data until it tells another identity; nobody is let in before.
        data::keep_closed(&cluster.directory, true)?;
        let as_it_was = ClusterSpec { identity: Some(record.identity.clone()), ..spec.clone() };
        let started = cluster.start(&engine.config, &as_it_was).await?;
        cluster.rename(&engine.config, spec, &identity).await?;
        engine.open_to_clients(spec).await?;
        started
    };
    forget_snapshot(&cluster.directory.data().join(SNAPSHOT))?;
    remove(&cluster.directory.root().join(OLD))?;
    Ok(Restored { identity, version: started.version, newest: backup.ended_at })
}

/// Puts a whole data directory together beside the one that there is.
async fn lay_out(
    config: &RedisConfig,
    directory: &ClusterDirectory,
    spec: &ClusterSpec,
    record: &Record,
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    let new = directory.make_empty(NEW, &config.user)?;
    let laid_out = async {
        data::write_record_in(&new, record, &config.user)?;
        // Who is in the file that there is was let in later than who is in the backup.
        let users = read_file(directory.data().join(data::USERS));
        let users = users.unwrap_or_else(|_| notes::users(backup).to_owned());
        write_file(&new, data::USERS, &users, &config.user)?;
        if offering::persistence(spec.plan, &spec.parameters) == Persistence::Cache {
            return write_data(backup, archive, &new.join(SNAPSHOT), &config.user).await;
        }
        let append_only = directory.make_empty(&format!("{NEW}/{APPEND_ONLY}"), &config.user)?;
        write_data(backup, archive, &append_only.join(BASE), &config.user).await?;
        let manifest = format!("file {BASE} seq 1 type b\n");
        write_file(&append_only, MANIFEST, &manifest, &config.user)
    };
    let laid_out = laid_out.await;
    if laid_out.is_err() {
        remove(&new)?;
    }
    laid_out
}

/// Puts the new data in the place of the old. Done again, it leaves aside what was there first.
fn swap(root: &Path) -> io::Result<()> {
    let (data, old) = (root.join("data"), root.join(OLD));
    if data.exists() {
        match old.exists() {
            true => fs::remove_dir_all(&data)?,
            false => fs::rename(&data, &old)?,
        }
    }
    fs::rename(root.join(NEW), &data)?;
    File::open(root)?.sync_all()
}

/// A cache would read it again whenever it starts, and find what was there long ago.
fn forget_snapshot(path: &Path) -> Result<(), EngineError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::transient_from(format!("{} could not be removed", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::transient_from(format!("{} could not be removed", path.display()), error))
        }
        _ => Ok(()),
    }
}
