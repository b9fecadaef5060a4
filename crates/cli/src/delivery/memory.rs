//! Whether files are kept in memory, where no backup and no thief of disks finds them.

use std::path::Path;

use rustix::fs::statfs;

use crate::output;

/// `f_type` of file systems that are kept in memory (statfs(2)).
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Whether a directory, which may be still to be made, is in memory.
fn in_memory(directory: &Path) -> bool {
    let present = directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("."));
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between processors")]
    statfs(present).is_ok_and(|found| matches!(found.f_type as i64, TMPFS_MAGIC | RAMFS_MAGIC))
}

/// Says where secrets that go into a directory go onto a disk.
pub(crate) fn warn_of_disk(directory: &Path) {
    if !in_memory(directory) {
        output::message(&format!(
            "warning: {} is on a disk, which keeps the secrets written there; a directory in memory, as below /run or \
             /dev/shm, does not",
            directory.display()
        ));
    }
}
