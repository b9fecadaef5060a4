//! What is so on this machine. Nothing is judged here, and what cannot be read is simply not known.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mainstay_engine::supervise::EngineUser;
use rustix::fs::Access;
use rustix::process::Resource;

use crate::config::{Config, RuntimeEnvironment, Seal};

/// What the kernel calls a file system in memory (statfs(2)).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The machine, whatever it is used for.
#[derive(Debug)]
pub(super) struct Machine {
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// `6.1.0-18-amd64`.
    pub kernel: String,
    pub cores: usize,
    /// Bytes for programs to use, and those that are free for it now.
    pub memory: Option<(u64, u64)>,
    /// How many files a process may open, and how many it may ask for; none is without limit.
    pub open_files: (Option<u64>, Option<u64>),
    /// The first folder in memory that this user can write secrets to.
    pub memory_folder: Option<PathBuf>,
}

/// Where the layer would keep its data.
#[derive(Debug)]
pub(super) struct Place {
    pub data_dir: Folder,
    /// Bytes that can still be written there.
    pub free_bytes: Option<u64>,
    /// The newest change under the data directory, by which a clock that went back is seen.
    pub newest_change: Option<SystemTime>,
    pub clock: SystemTime,
    /// Who the engines would run as, or why nobody.
    pub engine_user: Result<EngineUser, String>,
    /// A folder on the way to the data that the engines' user cannot pass.
    pub impassable: Option<PathBuf>,
    /// The key file, where custody is sealed with one.
    pub key_file: Option<PathBuf>,
    /// Its mode; none where there is no such file.
    pub key_mode: Option<u32>,
    pub environment: RuntimeEnvironment,
}

/// A folder that is there, or could be made.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    /// Its permission bits; none where it does not exist yet.
    pub mode: Option<u32>,
    /// Whether it, or else the nearest folder above it, is a folder that we can write to.
    pub writable: bool,
    /// That nearest folder, or itself.
    pub nearest: PathBuf,
}

// === impl Machine ===

impl Machine {
    pub fn gather() -> Self {
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let limit = rustix::process::getrlimit(Resource::Nofile);
        Self {
            system: quoted_value(&os_release, "PRETTY_NAME").unwrap_or_else(|| "Linux of an unknown kind".to_owned()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: kibibytes(&meminfo, "MemTotal").zip(kibibytes(&meminfo, "MemAvailable")),
            open_files: (limit.current, limit.maximum),
            memory_folder: memory_folder(),
        }
    }
}

/// `KEY="value"` in the form of os-release(5).
fn quoted_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// `KEY:   123 kB` in the form of /proc/meminfo, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

fn memory_folder() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    own.into_iter().chain(["/run".into(), "/dev/shm".into()]).find(|path| is_in_memory(path) && is_writable(path))
}

fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TMPFS_MAGIC))
}

fn is_writable(path: &Path) -> bool {
    path.is_dir() && rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

// === impl Place ===

impl Place {
    pub fn gather(config: &Config) -> Self {
        let data_dir = Folder::gather(&config.data_dir);
        let engine_user = EngineUser::resolve(config.engines.user.as_deref()).map_err(|error| error.to_string());
        let impassable = engine_user.as_ref().ok().and_then(|user| {
            let mut above = data_dir.nearest.ancestors();
            above.find(|folder| folder.metadata().is_ok_and(|found| !may_pass(&found, user))).map(Path::to_owned)
        });
        let key_file = match &config.custody.seal {
            Seal::KeyFile { file, .. } => Some(file),
            Seal::Shamir => None,
        };
        Self {
            free_bytes: rustix::fs::statvfs(&data_dir.nearest).ok().map(|found| found.f_bavail * found.f_frsize),
            newest_change: newest_change(&config.data_dir),
            clock: SystemTime::now(),
            data_dir,
            engine_user,
            impassable,
            key_mode: key_file.and_then(|file| file.metadata().ok()).map(|found| found.mode() & 0o7777),
            key_file: key_file.cloned(),
            environment: config.environment,
        }
    }
}

impl Folder {
    pub fn gather(path: &Path) -> Self {
        let nearest = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        Self {
            path: path.to_owned(),
            mode: path.metadata().ok().map(|found| found.mode() & 0o7777),
            writable: is_writable(nearest),
            nearest: nearest.to_owned(),
        }
    }
}

/// Whether the permission bits let a user pass through a folder, as far as they alone decide.
fn may_pass(folder: &Metadata, user: &EngineUser) -> bool {
    let class = match () {
        () if folder.uid() == user.uid => 0o100,
        () if folder.gid() == user.gid => 0o010,
        () => 0o001,
    };
    folder.mode() & class != 0
}

/// The newest change of what lies directly in a folder: enough to see a clock that is years or days behind.
fn newest_change(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Folder, Machine, kibibytes, quoted_value};

    #[test]
    fn the_files_of_the_system_are_read() {
        let os_release = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(quoted_value(os_release, "PRETTY_NAME").unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(quoted_value(os_release, "VERSION"), None);
        assert_eq!(kibibytes("MemTotal:       16384 kB\nMemFree: 1 kB\n", "MemTotal"), Some(16 << 20));
        assert_eq!(kibibytes("MemTotal: lots\n", "MemTotal"), None);
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::gather();
        assert!(machine.cores > 0 && machine.memory.is_some() && machine.kernel.contains('.'), "{machine:?}");
    }

    #[test]
    fn a_folder_that_is_missing_is_judged_by_the_one_above() {
        let above = tempfile::tempdir().unwrap();
        std::fs::set_permissions(above.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        let missing = Folder::gather(&above.path().join("a/b"));
        assert_eq!((missing.mode, missing.writable, missing.nearest.as_path()), (None, true, above.path()));
        assert_eq!(Folder::gather(above.path()).mode, Some(0o750));
    }
}
