//! What of the machine outside the layer bears on a decision.

use std::path::Path;

/// How many bytes an unprivileged process could still write to the file system that holds a path.
pub(crate) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail * found.f_frsize)
}
