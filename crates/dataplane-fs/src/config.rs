//! What can be chosen.

/// How a store works. All of it can be changed from one start to the next.
#[derive(Debug, Clone)]
pub struct FsConfig {
    /// Bytes of content up to which it lies in a pack. Up to here one synchronised write for many contents beats a file
    /// and a directory entry each; beyond, copying when packs are tidied costs more than that.
    pub small_up_to: usize,
    /// Bytes after which a pack is followed by the next. Tidying copies at most one pack at a time, so that this is also
    /// the room that it needs.
    pub pack_len: u64,
    /// Contents whose places are remembered, so that reading them takes no look into the index: 120 bytes each.
    pub cached_places: usize,
    /// Changes that the index may lag behind the log: what is read again after a crash, and 200 bytes of memory each.
    pub checkpoint_after: usize,
    /// Bytes of the disk that content leaves to others: to delete anything, the index of what refers to it needs room too.
    /// What is on its way already, and what a pack has allocated ahead, may come off it.
    pub reserved: u64,
    /// Whether packs which are mostly dead are tidied without being asked.
    pub tidy: bool,
}

impl Default for FsConfig {
    fn default() -> Self {
        Self {
            small_up_to: 1 << 20,
            pack_len: 64 << 20,
            cached_places: 64 << 10,
            checkpoint_after: 32 << 10,
            // Twice what the control plane keeps for itself, so that clients who fill the disk with content stop nothing else.
            reserved: 64 << 20,
            tidy: true,
        }
    }
}
