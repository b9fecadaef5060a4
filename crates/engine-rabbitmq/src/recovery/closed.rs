//! An instance that lets nobody in while its contents are replaced: kept on disk beside the node's data, so that one with half of them
//! lets nobody in whatever dies meanwhile. Restoring it again is what ends that.

use std::io;
use std::path::PathBuf;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, write_own_file};
use mainstay_types::InstanceId;

/// The users to be let in again; none where the instance is open.
pub(crate) fn users(directory: &ClusterDirectory, instance: &InstanceId) -> Result<Option<Vec<String>>, EngineError> {
    match std::fs::read_to_string(path(directory, instance)) {
        Ok(text) => Ok(Some(text.lines().map(str::to_owned).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::transient_from("it could not be looked whether an instance is closed", error)),
    }
}

/// Closes it, or says who else is to be let in again.
pub(super) fn close(directory: &ClusterDirectory, instance: &InstanceId, users: &[String]) -> Result<(), EngineError> {
    let text: String = users.iter().flat_map(|user| [user.as_str(), "\n"]).collect();
    write_own_file(directory.root(), &name(instance), &text)
}

/// Opens it; that it is open already is as good.
pub(crate) fn open(directory: &ClusterDirectory, instance: &InstanceId) -> Result<(), EngineError> {
    match std::fs::remove_file(path(directory, instance)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::transient_from("an instance could not be opened", error))
        }
        _ => Ok(()),
    }
}

fn path(directory: &ClusterDirectory, instance: &InstanceId) -> PathBuf {
    directory.root().join(name(instance))
}

fn name(instance: &InstanceId) -> String {
    format!("closed-{}", instance.suffix())
}
