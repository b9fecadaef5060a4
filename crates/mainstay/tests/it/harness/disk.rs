//! A small disk, and what fills it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for a PostgreSQL server with its write-ahead log and some data, and quickly filled.
const SIZE_MIB: u64 = 320;

/// Mounts a small disk on an empty directory. The layer's guardian takes it away again.
pub fn mount_small_disk(directory: &Path) {
    let options = format!("size={SIZE_MIB}m,mode=711");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "mainstay-test"]).arg(directory).status();
    assert!(mounted.unwrap().success(), "a tmpfs can be mounted on {}", directory.display());
}

/// Whether this test may mount. Where it may not, it has tested nothing, and says so.
pub fn may_mount() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let tried = Command::new("mount").args(["-t", "tmpfs", "mainstay-test"]).arg(directory.path()).output().unwrap();
    if !tried.status.success() {
        eprintln!(
            "SKIPPED: a test with a full disk needs to mount a tmpfs, as root: {}",
            String::from_utf8_lossy(&tried.stderr)
        );
        return false;
    }
    assert!(Command::new("umount").arg(directory.path()).status().unwrap().success());
    true
}

/// A file that takes the room on a disk; the room is free again when this is dropped.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    /// Takes all but so many bytes of the disk that a directory is on.
    pub fn leave(directory: &Path, bytes: u64) -> Self {
        let path = directory.join("filler");
        let mut filler = Self { file: OpenOptions::new().append(true).create(true).open(&path).unwrap(), path };
        filler.shrink_to(bytes);
        filler
    }

    /// Takes more, so that no more than so many bytes are left.
    pub fn shrink_to(&mut self, bytes: u64) {
        const CHUNK: [u8; 4096] = [0; 4096];
        loop {
            let found = rustix::fs::statvfs(&self.path).unwrap();
            let excess = (found.f_bavail * found.f_frsize).saturating_sub(bytes);
            if excess == 0 {
                return;
            }
            for _ in 0..excess.div_ceil(CHUNK.len() as u64) {
                match self.file.write_all(&CHUNK) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}
