//! The data directory: made with the right modes, and held by one control plane at a time.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::config::Config;

/// Passable, so that engines reach their own directories in it, and listed by nobody but the owner.
const PASSABLE: u32 = 0o711;
/// For the control plane alone.
const PRIVATE: u32 = 0o700;
/// The file whose lock is the claim to the directory, and which says who claims it.
pub(super) const LOCK_FILE: &str = "mainstay.lock";
/// What follows the pid in it once requests are answered.
const SERVES: &str = "serves\n";

/// A data directory that this process holds. It is free again when this is dropped, or the process ends.
#[derive(Debug)]
pub struct DataDir {
    lock: File,
}

/// The process that holds a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub pid: i32,
    /// Whether it answers requests.
    pub serves: bool,
}

/// Why a data directory can not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {} cannot be written; choose another with --data-dir, or mend its owner and mode", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the data directory {} is in use by process {pid}; stop it with 'mainstay down', or choose another with --data-dir", path.display())]
    Held { path: PathBuf, pid: i32 },
}

impl DataDir {
    /// Makes the directory where it is missing, and claims it.
    pub fn take(config: &Config) -> Result<Self, DataDirError> {
        let path = &config.data_dir;
        let unwritable = |source| DataDirError::Unwritable { path: path.clone(), source };
        make_folders(config)?;
        let lock = lock_file(path).map_err(unwritable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = read_holder(&lock).map_or(0, |holder| holder.pid);
            return Err(DataDirError::Held { path: path.clone(), pid });
        }
        write_pid(&lock).map_err(unwritable)?;
        Ok(Self { lock })
    }

    /// Makes the folders that a configuration wants in a directory that is held, where they are missing.
    pub fn furnish(&self, config: &Config) -> Result<(), DataDirError> {
        make_folders(config)
    }

    /// Tells those who ask for the holder that it answers requests now. An open port would not tell them: it may be
    /// somebody else's.
    pub fn tell_that_it_serves(&self) -> std::io::Result<()> {
        (&self.lock).write_all(SERVES.as_bytes())
    }

    /// Who holds a data directory now; none where nobody does.
    pub fn holder(path: &Path) -> Result<Option<Holder>, DataDirError> {
        let unreadable = |source| DataDirError::Unwritable { path: path.to_owned(), source };
        let lock = match OpenOptions::new().read(true).open(path.join(LOCK_FILE)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        // Asking for a shared lock does not disturb anybody: it is given back at once.
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(_) => Ok(read_holder(&lock)),
        }
    }
}

fn make_folders(config: &Config) -> Result<(), DataDirError> {
    let path = &config.data_dir;
    let unwritable = |source| DataDirError::Unwritable { path: path.clone(), source };
    make(path, PASSABLE).map_err(unwritable)?;
    make(&path.join("custody"), PRIVATE).map_err(unwritable)?;
    if let Some(state) = config.storage.directory() {
        make(state, PRIVATE).map_err(unwritable)?;
    }
    Ok(())
}

fn make(path: &Path, mode: u32) -> std::io::Result<()> {
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) => Err(error),
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK_FILE))
}

fn write_pid(mut lock: &File) -> std::io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    lock.sync_all()
}

fn read_holder(mut lock: &File) -> Option<Holder> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    let (pid, rest) = text.split_once('\n')?;
    Some(Holder { pid: pid.parse().ok()?, serves: rest == SERVES })
}
