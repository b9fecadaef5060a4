//! `process.json`: which process serves a cluster, kept so that the next control plane finds it again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::directory::ClusterDirectory;
use super::procfs;

/// The version of the file's form.
const VERSION: u32 = 1;

/// A process, named so that another one that has its pid later is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    version: u32,
    pub pid: i32,
    /// Clock ticks between the machine's start and the process's.
    pub started: u64,
    pub boot_id: String,
    pub command: Vec<String>,
}

impl ProcessRecord {
    /// A process that lives; none when it does not.
    pub fn of(pid: Pid) -> Option<Self> {
        let started = procfs::stat(pid)?.started;
        Some(Self {
            version: VERSION,
            pid: pid.as_raw_pid(),
            started,
            boot_id: procfs::boot_id(),
            command: procfs::command(pid),
        })
    }

    /// The recorded process; none when there is no record or none of this version.
    pub fn read(directory: &ClusterDirectory) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(directory.process_record()).ok()?).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// Whether the process still lives.
    pub fn is_alive(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid)?;
        let lives = self.boot_id == procfs::boot_id() && procfs::stat(pid)?.started == self.started;
        lives.then_some(pid)
    }

    /// Keeps the record, whole or not at all, for as long as the machine runs: no process lives longer, and a record of another boot
    /// names none. So nobody who waits for the engine waits for a disk.
    pub fn write(&self, directory: &ClusterDirectory) -> io::Result<()> {
        let path = directory.process_record();
        let temporary = path.with_extension("json.new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&temporary, &path)
    }

    /// Forgets the process.
    pub fn remove(directory: &ClusterDirectory) {
        // A record that stays is harmless: its process no longer lives.
        let _ = fs::remove_file(directory.process_record());
    }
}
