//! What of the machine outside the layer bears on a decision.

use std::path::Path;

/// How much room a file system has, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// What an unprivileged process could still write.
    pub free: u64,
    pub total: u64,
}

/// The room of the file system that holds a path.
pub(crate) fn room(path: &Path) -> std::io::Result<Room> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Room { free: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
}
