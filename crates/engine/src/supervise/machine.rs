//! What the machine has, as far as engines' settings depend on it.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::launch::OPEN_FILES;

/// Taken where the system does not tell: a small machine, so that settings are modest.
const UNKNOWN_MEMORY_MIB: u64 = 1_024;
const UNKNOWN_DISK_MIB: u64 = 4_096;

/// A machine. Only what stays the same while it runs, so that settings do not change by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    pub memory_mib: u64,
    pub cores: u32,
    /// The size, used or not, of the file system that the clusters are on.
    pub disk_mib: u64,
    /// How many files, and so connections, one engine's process may have open.
    pub open_files: u64,
}

impl Machine {
    /// This machine, as far as this process may use it.
    pub fn look(clusters_dir: &Path) -> Self {
        let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_meminfo(&text));
        let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| parse_cgroup_limit(&text));
        let memory_mib = installed.into_iter().chain(allowed).min().unwrap_or(UNKNOWN_MEMORY_MIB);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        // The directory may not have been made yet; the file system is that of what exists.
        let existing = clusters_dir.ancestors().find(|ancestor| ancestor.exists());
        let disk = existing.and_then(|path| rustix::fs::statvfs(path).ok());
        let disk_mib = disk.map_or(UNKNOWN_DISK_MIB, |disk| disk.f_blocks.saturating_mul(disk.f_frsize) >> 20);
        Self { memory_mib, cores, disk_mib, open_files: Self::open_files() }
    }

    /// How many files, and so connections, one engine's process may have open: to be asked for alone where nothing else is wanted.
    pub fn open_files() -> u64 {
        getrlimit(Resource::Nofile).maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES))
    }
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib >> 10)
}

/// Bytes, or `max` where there is no limit.
fn parse_cgroup_limit(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok().map(|bytes| bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::{parse_cgroup_limit, parse_meminfo};

    #[test]
    fn memory() {
        assert_eq!(parse_meminfo("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16_000));
        assert_eq!(parse_meminfo(""), None);
        assert_eq!(parse_cgroup_limit("1073741824\n"), Some(1_024));
        assert_eq!(parse_cgroup_limit("max\n"), None);
    }
}
