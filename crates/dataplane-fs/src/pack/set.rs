//! The files of packs, for whoever reads them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::PackId;

/// Packs that are held open: 8 GiB of the usual length, and a quarter of the files that a process may open by default.
const HELD_OPEN: usize = 256;

/// The directory of packs. A pack that was opened can be read as long as its file is held, even when it is removed.
pub(crate) struct Packs {
    directory: PathBuf,
    open: Cache<PackId, Arc<File>>,
}

impl Packs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, open: Cache::new(HELD_OPEN) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, pack: PackId) -> PathBuf {
        self.directory.join(format!("{pack}.pack"))
    }

    /// All packs that there are, in their order. Other names are nobody's.
    pub(crate) fn list(&self) -> io::Result<Vec<PackId>> {
        let mut packs = Vec::new();
        for found in std::fs::read_dir(&self.directory)? {
            let name = found?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".pack")).and_then(|text| text.parse().ok());
            packs.extend(number.map(PackId));
        }
        packs.sort_unstable();
        Ok(packs)
    }

    /// A pack to read from.
    pub(crate) fn file(&self, pack: PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(&pack) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(pack))?);
        self.open.insert(pack, Arc::clone(&file));
        // Removed between the two, it would be held, with all its room, until others take its place.
        if !self.path(pack).exists() {
            self.open.remove(&pack);
        }
        Ok(file)
    }

    /// Removes a pack. Who holds it open reads on.
    pub(crate) fn remove(&self, pack: PackId) -> io::Result<()> {
        std::fs::remove_file(self.path(pack))?;
        self.open.remove(&pack);
        Ok(())
    }
}
