//! The socket that a daemon listens on.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::BindError;

/// A socket in the file system that only its owner can open. It is removed with this.
pub struct Listener {
    pub(crate) socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens on a path. A directory that is not there is made, for the owner alone; a socket that nobody listens on any
    /// more is replaced.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| BindError::Directory { path: directory.to_owned(), source })?;
        }
        let failed = |source| BindError::Listen { path: path.to_owned(), source };
        remove_abandoned(path).await?;
        let socket = UnixListener::bind(path).map_err(failed)?;
        // Whoever got in before this is asked for its user as everybody is.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // What is left is replaced by the next daemon.
        drop(std::fs::remove_file(&self.path));
    }
}

async fn remove_abandoned(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Listen { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // It listens, or has so many waiting that it does.
        _ => Err(BindError::InUse(path.to_owned())),
    }
}
