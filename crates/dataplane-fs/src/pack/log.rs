//! Writing: the newest pack.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fdatasync, fsync};
use rustix::io::{Errno, pwritev};

use super::{HEAD_LEN, Head, PackId, PackKey, Packs};

/// Room that is allocated in advance: a synchronised write into it moves neither the end of the file nor its extents
/// about, and what is allocated cannot turn out not to be there.
const ALLOCATED_AHEAD: u64 = 8 << 20;

/// The part of it that new content may not use, so that deleting and tidying work when the disk is full: some seven
/// thousand deletions.
const KEPT_FOR_DELETING: u64 = 1 << 20;

/// What the system takes in one write (`IOV_MAX`, `limits.h`).
const MAX_SLICES: usize = 1024;

/// The pack that is written to.
pub(crate) struct Log {
    packs: Arc<Packs>,
    head: Head,
    file: File,
    /// Where the records end that are durable.
    end: u64,
    /// Up to where there is room.
    allocated: u64,
    /// Whether the file may hold more behind the end than nothing: it takes no more records then.
    spoilt: bool,
}

/// What room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Records that bring content.
    Content,
    /// Records which say something of content that is there, as deletions do, or move it so that a pack can go.
    Note,
}

impl Log {
    /// Writes on in a pack whose records end somewhere. What lies behind is cut off.
    pub(crate) fn resume(packs: Arc<Packs>, head: Head, end: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(packs.path(head.id))?;
        file.set_len(end)?;
        Ok(Self { packs, head, file, end, allocated: end, spoilt: false })
    }

    /// Begins a pack: durable, with its name.
    pub(crate) fn begin(
        packs: Arc<Packs>,
        id: PackId,
        next_claim: u64,
        before: Option<(PackId, u64)>,
    ) -> io::Result<Self> {
        let mut key = PackKey::default();
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let head = Head { id, key, next_claim, before };
        let path = packs.path(id);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let begun = allocate(&file, 0, HEAD_LEN + KEPT_FOR_DELETING)
            .and_then(|()| file.write_all_at(&head.encode(), 0))
            .and_then(|()| Ok(fsync(&file)?))
            .and_then(|()| Ok(fsync(File::open(packs.directory())?)?));
        if let Err(error) = begun {
            // It is empty, and a pack that is not there is better than one that cannot be written.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { packs, head, file, end: HEAD_LEN, allocated: HEAD_LEN + KEPT_FOR_DELETING, spoilt: false })
    }

    pub(crate) fn id(&self) -> PackId {
        self.head.id
    }

    pub(crate) fn key(&self) -> &PackKey {
        &self.head.key
    }

    /// Where the next record begins.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a write has failed in a way that leaves nothing certain about what lies behind the end.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Sees to it that there is room up to some offset.
    pub(crate) fn reserve(&mut self, until: u64, purpose: Purpose) -> io::Result<()> {
        let needed = until + if purpose == Purpose::Content { KEPT_FOR_DELETING } else { 0 };
        if needed <= self.allocated {
            return Ok(());
        }
        // The last room of a disk is taken in small steps.
        let generous = needed + ALLOCATED_AHEAD;
        let (len, result) = match allocate(&self.file, self.allocated, generous - self.allocated) {
            Err(error) if crate::error::is_full(&error) => {
                (needed, allocate(&self.file, self.allocated, needed - self.allocated))
            }
            result => (generous, result),
        };
        result?;
        self.allocated = len;
        Ok(())
    }

    /// Appends what records are made of, and returns when all of it is durable. Where it fails, nothing was appended.
    pub(crate) fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = slices;
        let mut at = self.end;
        while !rest.is_empty() {
            let now = rest.len().min(MAX_SLICES);
            match pwritev(&self.file, &rest[..now], at) {
                Ok(0) => return self.take_back(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return self.take_back(error.into()),
            }
        }
        if let Err(error) = fdatasync(&self.file) {
            // What a failed synchronisation has left on the disk nobody can say (the kernel forgets which pages it was):
            // this pack ends before it, and the next one says so.
            self.spoilt = true;
            return Err(error.into());
        }
        self.end = at;
        Ok(())
    }

    /// Ends this pack and begins the next. Where that fails, this pack goes on.
    pub(crate) fn rotate(&mut self, next_claim: u64) -> io::Result<()> {
        let id = PackId(self.head.id.0 + 1);
        let next = Self::begin(Arc::clone(&self.packs), id, next_claim, Some((self.head.id, self.end)))?;
        let full = std::mem::replace(self, next);
        full.trim();
        Ok(())
    }

    /// Gives back what is allocated behind the end. The next writer allocates anew.
    pub(crate) fn trim(&self) {
        // A pack that stays longer than it needs to be costs room and nothing else; the next to open it tries again.
        let _ = self.file.set_len(self.end);
    }

    fn take_back(&mut self, error: io::Error) -> io::Result<()> {
        match self.file.set_len(self.end) {
            Ok(()) => self.allocated = self.end,
            Err(_) => self.spoilt = true,
        }
        Err(error)
    }
}

fn allocate(file: &File, from: u64, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from, len) {
        // A file system without it allocates when it is written to.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => Ok(result?),
    }
}
