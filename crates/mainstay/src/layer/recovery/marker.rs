//! The mark of a data directory that is being recovered: until it is gone nobody serves what is in there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::layer::data_dir::LOCK_FILE;

/// The file.
const MARKER: &str = "recovering";
/// What is in it once the stores, which may lie elsewhere, were found to be free for what is laid out.
const STORES_TAKEN: &str = "stores taken\n";
/// What stays when a directory is cleared: the mark, the lock of whoever clears it, and what every file system has.
const KEPT: [&str; 3] = [MARKER, LOCK_FILE, "lost+found"];

pub fn is_set(directory: &Path) -> bool {
    directory.join(MARKER).exists()
}

/// Whether there is nothing in a directory that anybody could miss: no file but a lock that nobody may have, and folders without
/// anything in them.
pub fn is_bare(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let bare = match entry.file_type()?.is_dir() {
            true => fs::read_dir(entry.path())?.next().is_none(),
            false => entry.file_name() == LOCK_FILE,
        };
        if !bare {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an earlier attempt has begun to lay the layer's state out in its stores.
pub fn has_taken_stores(directory: &Path) -> bool {
    fs::read(directory.join(MARKER)).is_ok_and(|found| found == STORES_TAKEN.as_bytes())
}

/// Says that it begins to, durably.
pub fn take_stores(directory: &Path) -> io::Result<()> {
    let mut marker = File::create(directory.join(MARKER))?;
    marker.write_all(STORES_TAKEN.as_bytes())?;
    marker.sync_all()
}

/// Marks a directory, durably, before anything is laid out there.
pub fn set(directory: &Path) -> io::Result<()> {
    File::options().append(true).create(true).open(directory.join(MARKER))?.sync_all()?;
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
        std::fs::write(directory.join("mainstay.lock"), "1").unwrap();
        std::fs::create_dir(directory.join("storage")).unwrap();
        assert!(super::is_bare(directory).unwrap());
        super::set(directory).unwrap();
        assert!(!super::is_bare(directory).unwrap() && !super::has_taken_stores(directory));
        super::take_stores(directory).unwrap();
        super::set(directory).unwrap();
        assert!(super::has_taken_stores(directory), "what was begun stays said");
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
