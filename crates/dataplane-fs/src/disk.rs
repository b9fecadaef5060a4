//! The disk that a store lies on. The system answers from memory.

use std::path::PathBuf;

use mainstay_dataplane::Trouble;

use crate::error::trouble;
use crate::layout::Layout;

/// The room of a disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Bytes that content leaves to others.
    reserved: u64,
}

impl Disk {
    pub(crate) fn of(layout: &Layout, reserved: u64) -> Self {
        Self { root: layout.root().to_owned(), reserved }
    }

    /// Bytes that are free for this process.
    pub(crate) fn free_bytes(&self) -> Result<u64, Trouble> {
        let found = rustix::fs::statvfs(&self.root);
        let found = found.map_err(|error| trouble("look at the disk of the content store", &error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Whether content may take more of it.
    pub(crate) fn has_room(&self) -> Result<(), Trouble> {
        let (free, reserved) = (self.free_bytes()?, self.reserved);
        if free < reserved {
            let reason =
                format!("{free} bytes are left on the disk, and {reserved} are kept for other things than content");
            return Err(Trouble::Full { reason });
        }
        Ok(())
    }
}
