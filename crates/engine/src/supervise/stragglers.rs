//! Processes that a dead engine left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::procfs;
use super::user::EngineUser;

/// How often is looked whether they are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long the kernel may take to end what was killed; more means that a process hangs in a disk access.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until no process of the user works in the directory any more, and kills those that take too long.
///
/// Backends of a killed postmaster notice its death when they next wait for something, and one that computes
/// does not wait. As long as one lives, a new postmaster refuses to start.
///
/// Returns how many were killed.
pub async fn end_stragglers(directory: &Path, user: &EngineUser, patience: Duration) -> Result<usize, String> {
    if wait_until_gone(directory, user, patience).await.is_empty() {
        return Ok(0);
    }
    let left = procfs::in_directory(directory, user.uid);
    for pid in &left {
        match kill_process(*pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(format!("process {pid}, left behind by the engine, could not be ended: {errno}")),
        }
    }
    match wait_until_gone(directory, user, KILL_PATIENCE).await.first() {
        None => Ok(left.len()),
        Some(pid) => Err(format!("process {pid}, left behind by the engine, does not end")),
    }
}

async fn wait_until_gone(directory: &Path, user: &EngineUser, patience: Duration) -> Vec<Pid> {
    let deadline = Instant::now() + patience;
    loop {
        let left = procfs::in_directory(directory, user.uid);
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
