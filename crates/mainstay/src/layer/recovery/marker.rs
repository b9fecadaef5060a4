//! The mark of a data directory that is being recovered: until it is gone nobody serves what is in there.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// The file.
const MARKER: &str = "recovering";
/// What stays when a directory is cleared: the mark, and the lock of whoever clears it.
const KEPT: [&str; 2] = [MARKER, "mainstay.lock"];

pub fn is_set(directory: &Path) -> bool {
    directory.join(MARKER).exists()
}

/// Marks a directory, durably, before anything is laid out there.
pub fn set(directory: &Path) -> io::Result<()> {
    File::create(directory.join(MARKER))?.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Removes everything that was laid out in a marked directory.
pub fn clear(directory: &Path) -> io::Result<()> {
    debug_assert!(is_set(directory));
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Says that everything is there.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(MARKER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cleared_directory_keeps_its_mark_and_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        super::set(directory).unwrap();
        std::fs::write(directory.join("mainstay.lock"), "1").unwrap();
        std::fs::create_dir_all(directory.join("clusters/one")).unwrap();
        std::fs::write(directory.join("admin.token"), "x").unwrap();
        super::clear(directory).unwrap();
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 2);
        assert!(super::is_set(directory));
        super::remove(directory).unwrap();
        super::remove(directory).unwrap();
        assert!(!super::is_set(directory));
    }
}
