//! What the machine has, as far as settings depend on it.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Taken where the system does not tell: a small machine, so that settings are modest.
const UNKNOWN_MEMORY_MIB: u64 = 1_024;
/// What a process may have open where nothing limits it: as many as an engine is given.
const MOST_OPEN_FILES: u64 = 65_536;

/// A machine. Only what stays the same while it runs, so that settings do not change by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    pub memory_mib: u64,
    /// How many files, and so connections, one process may have open.
    pub open_files: u64,
}

impl Machine {
    /// This machine, as far as this process may use it.
    pub fn look() -> Self {
        let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_meminfo(&text));
        let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| parse_cgroup_limit(&text));
        let memory_mib = installed.into_iter().chain(allowed).min().unwrap_or(UNKNOWN_MEMORY_MIB);
        let open_files = getrlimit(Resource::Nofile).maximum.map_or(MOST_OPEN_FILES, |most| most.min(MOST_OPEN_FILES));
        Self { memory_mib, open_files }
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
