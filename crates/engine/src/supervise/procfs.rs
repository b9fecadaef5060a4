//! What `/proc` says of processes (proc(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::Pid;

/// The little of `/proc/PID/stat` that we look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub parent: i32,
    /// Field 22: clock ticks after the machine's start. With the pid it names a process until the next boot.
    pub started: u64,
}

/// A process; none when there is none, and none for a zombie, which only waits for its parent.
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// This boot of the machine.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The arguments that a process shows, the program first.
pub(super) fn command(pid: Pid) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// The living processes of a user whose working directory this is.
///
/// Process groups and sessions do not tell which processes belong to an engine, because PostgreSQL's backends
/// make sessions of their own; their working directory does.
pub(super) fn in_directory(directory: &Path, uid: u32) -> Vec<Pid> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| {
        let process = format!("/proc/{pid}");
        fs::metadata(&process).is_ok_and(|metadata| metadata.uid() == uid)
            && fs::read_link(format!("{process}/cwd")).is_ok_and(|cwd| cwd == directory)
            && stat(*pid).is_some()
    })
    .collect()
}

/// The second field is the program's name in parentheses and may hold anything, parentheses and spaces too.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = *fields.first()?;
    if state == "Z" || state == "X" {
        return None;
    }
    Some(Stat { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::{Stat, parse_stat, stat};

    #[test]
    fn a_line_of_stat() {
        let rest = "7 8 9 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4242 100 200";
        assert_eq!(parse_stat(&format!("12 (a b) c) S {rest}")), Some(Stat { parent: 7, started: 4242 }));
        assert_eq!(parse_stat(&format!("12 (gone) Z {rest}")), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_alive() {
        assert!(stat(getpid()).is_some_and(|stat| stat.started > 0));
    }
}
