//! The directory of one cluster, and the lock that makes one control plane its only supervisor.
//!
//! ```text
//! clusters/NAME/              ours, 0711: the engine passes through and changes nothing in it
//!               lock          held while a control plane supervises the cluster
//!               process.json  which process serves it
//!               admin.secret  ours, 0600: what we prove to the engine who we are with, where it asks for that
//!               log/          ours, 0700: the engine writes through a descriptor that it is given
//!               data/         the engine's, 0700
//!               run/          the engine's, 0700: its sockets
//!               wal/          the engine's, 0700: of its log what was copied and not kept elsewhere yet, where it has a log
//! ```
//!
//! What we act upon as root is out of the engine's reach: whoever takes an engine over can not make us signal
//! another process or write elsewhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_types::{ClusterName, EngineName};
use rustix::fs::{FlockOperation, flock};

use super::user::EngineUser;
use crate::EngineError;

/// The length of `sun_path` in `sockaddr_un` less its terminating zero (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

/// How long a lock may be held by nobody who means to: a process that is being started holds what its parent has open
/// until it becomes its program.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What the name of a scratch cluster begins with, as the name of no other does.
const SCRATCH: &str = "scratch";

/// Where the files of one cluster are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDirectory {
    root: PathBuf,
}

/// Why the directory of a cluster could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{} of a cluster could not be {attempt}", path.display())]
    Io {
        path: PathBuf,
        attempt: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the socket {} would have a path of {length} bytes, and the system allows {SOCKET_PATH_LIMIT}", path.display())]
    SocketPathTooLong { path: PathBuf, length: usize },
    #[error("the user {user} that engines run as cannot pass through {}", path.display())]
    NotTraversable { path: PathBuf, user: String },
    #[error("{} is held by another control plane, and two must not supervise one cluster", path.display())]
    Locked { path: PathBuf },
}

impl From<DirectoryError> for EngineError {
    fn from(error: DirectoryError) -> Self {
        let remedy = match &error {
            // A disk may be full for a while.
            DirectoryError::Io { .. } => {
                return EngineError::transient_from("the cluster's directory can not be used", error);
            }
            DirectoryError::SocketPathTooLong { .. } => "choose a data directory with a shorter path".to_owned(),
            DirectoryError::NotTraversable { path, .. } => format!("allow it with: chmod o+x {}", path.display()),
            DirectoryError::Locked { .. } => "stop the other one first".to_owned(),
        };
        EngineError::permanent(error.to_string(), remedy)
    }
}

/// Held while this control plane supervises a cluster; released when it is dropped or the process ends.
#[derive(Debug)]
pub struct ClusterLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl ClusterDirectory {
    /// The directory of a cluster under the directory of all clusters. Nothing is made yet.
    pub fn new(clusters: &Path, cluster: &ClusterName) -> Self {
        Self { root: clusters.join(cluster.as_str()) }
    }

    /// The clusters of an engine that have a directory here.
    pub fn names(clusters: &Path, engine: &EngineName) -> Vec<ClusterName> {
        Self::named(clusters, &format!("{engine}-"))
    }

    fn named(clusters: &Path, prefix: &str) -> Vec<ClusterName> {
        // Where there is no such directory there are no clusters either.
        let entries = fs::read_dir(clusters).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<ClusterName>().ok());
        names.filter(|name| name.as_str().starts_with(prefix)).collect()
    }

    /// A new name for a scratch cluster of an engine: one that only a restore knows, and that it removes at its end.
    pub fn scratch_name(engine: &EngineName) -> Result<ClusterName, EngineError> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
        let name = format!("{SCRATCH}-{engine}-{:08x}", u32::from_be_bytes(random));
        name.parse().map_err(|error| EngineError::transient_from("a scratch cluster could not be named", error))
    }

    /// The scratch clusters of an engine that have a directory here.
    pub fn scratch_names(clusters: &Path, engine: &EngineName) -> Vec<ClusterName> {
        Self::named(clusters, &format!("{SCRATCH}-{engine}-"))
    }

    /// Whether it is that of a scratch cluster.
    pub(super) fn is_scratch(&self) -> bool {
        let name = self.root.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(SCRATCH)).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The cluster's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the engine stores; also the working directory of its processes, by which they are found.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Its sockets.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The log that the engine's output goes to.
    pub fn log(&self) -> PathBuf {
        self.root.join("log").join("engine.log")
    }

    /// Which process serves the cluster.
    pub(crate) fn process_record(&self) -> PathBuf {
        self.root.join("process.json")
    }

    /// A path in `run`, when it is short enough for a socket.
    pub fn socket(&self, file_name: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.run().join(file_name);
        match path.as_os_str().len() {
            length if length > SOCKET_PATH_LIMIT => Err(DirectoryError::SocketPathTooLong { path, length }),
            _ => Ok(path),
        }
    }

    /// Makes what is missing, all but `data`, and sees to it that the engine's user can get there.
    pub fn prepare(&self, user: &EngineUser) -> Result<(), DirectoryError> {
        let clusters = self.root.parent().unwrap_or(Path::new("/"));
        make_directory(clusters, 0o711, None)?;
        make_directory(&self.root, 0o711, None)?;
        make_directory(&self.root.join("log"), 0o700, None)?;
        make_directory(&self.run(), 0o700, Some(user))?;
        match self.root.ancestors().find(|ancestor| !is_traversable(ancestor, user)) {
            Some(path) => Err(DirectoryError::NotTraversable { path: path.to_owned(), user: user.name.clone() }),
            None => Ok(()),
        }
    }

    /// Makes a directory in the cluster's that belongs to the engine's user; what is in it stays.
    pub fn make(&self, name: &str, user: &EngineUser) -> Result<PathBuf, DirectoryError> {
        let path = self.root.join(name);
        make_directory(&path, 0o700, Some(user))?;
        Ok(path)
    }

    /// Makes an empty directory in the cluster's that belongs to the engine's user, without what was there.
    pub fn make_empty(&self, name: &str, user: &EngineUser) -> Result<PathBuf, DirectoryError> {
        let path = self.root.join(name);
        remove_tree(&path)?;
        make_directory(&path, 0o700, Some(user))?;
        Ok(path)
    }

    /// Takes the cluster for this control plane. The directory has to exist.
    pub fn lock(&self) -> Result<ClusterLock, DirectoryError> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(failed("opened", &path))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(ClusterLock(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(DirectoryError::Locked { path }),
                Err(errno) => return Err(failed("locked", &path)(errno.into())),
            }
        }
    }

    /// Removes the cluster's directory with everything in it; there being none is as good.
    pub fn remove(&self) -> Result<(), DirectoryError> {
        remove_tree(&self.root)
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    move |source| DirectoryError::Io { path: path.to_owned(), attempt, source }
}

fn make_directory(path: &Path, mode: u32, owner: Option<&EngineUser>) -> Result<(), DirectoryError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("made", path))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("read", path))?;
    if let Some(user) = owner
        && (metadata.uid(), metadata.gid()) != (user.uid, user.gid)
    {
        chown(path, Some(user.uid), Some(user.gid)).map_err(failed("given to the engine's user", path))?;
    }
    // The mode of a new directory is cut by the umask.
    if metadata.permissions().mode() & 0o777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("given its mode", path))?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), DirectoryError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", path)(error)),
        _ => Ok(()),
    }
}

/// By the mode bits only: an access list can grant more, and then the engine's start tells.
fn is_traversable(directory: &Path, user: &EngineUser) -> bool {
    let Ok(metadata) = fs::metadata(directory) else { return true };
    let bit = match (metadata.uid() == user.uid, metadata.gid() == user.gid) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    metadata.mode() & bit != 0
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ClusterDirectory, DirectoryError};

    #[test]
    fn a_socket_path_has_a_limit() {
        let cluster = "postgresql-shared".parse().unwrap();
        let short = ClusterDirectory::new(Path::new("/var/lib/mainstay/clusters"), &cluster);
        assert!(short.socket(".s.PGSQL.7432").is_ok());
        let long = ClusterDirectory::new(&Path::new("/").join("x".repeat(80)), &cluster);
        let error = long.socket(".s.PGSQL.7432").unwrap_err();
        assert!(error.to_string().contains("107"), "{error}");
    }

    #[test]
    fn one_lock_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = ClusterDirectory { root: temporary.path().to_owned() };
        let first = directory.lock().unwrap();
        assert!(matches!(directory.lock(), Err(DirectoryError::Locked { .. })));
        drop(first);
        directory.lock().unwrap();
    }
}
