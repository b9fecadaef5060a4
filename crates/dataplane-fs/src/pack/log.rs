//! Writing: the newest pack.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fdatasync, fsync};
use rustix::io::{Errno, pwritev};

use crate::direct::{Direct, Gathering};

use super::{HEAD_LEN, Head, PackId, PackKey, Packs};

/// Room that is allocated in advance: a synchronised write into it moves neither the end of the file nor its extents
/// about, and what is allocated cannot turn out not to be there.
const ALLOCATED_AHEAD: u64 = 8 << 20;

/// The part of it that nothing but deletions may use, so that they work when the disk is full: some seven thousand.
const KEPT_FOR_DELETING: u64 = 1 << 20;

/// The part of it that new content may not use either, so that a pack with little left in it can be tidied then.
const KEPT_FOR_TIDYING: u64 = 1 << 20;

/// What a pack begins with at least, on a disk that is full: what the one before gives back for it.
const KEPT_AT_LEAST: u64 = 256 << 10;

/// What the system takes in one write (`IOV_MAX`, `limits.h`).
const MAX_SLICES: usize = 1024;

/// The pack that is written to.
pub(crate) struct Log {
    packs: Arc<Packs>,
    head: Head,
    file: File,
    direct: Direct,
    gathering: Gathering,
    /// Where the records end that are durable.
    end: u64,
    /// Up to where there is room.
    allocated: u64,
    /// Whether the file may hold more behind the end than nothing, or the next pack may be there already: it takes no more
    /// records then.
    spoilt: bool,
}

/// What room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Content that is new.
    Content,
    /// What moves so that a pack can go.
    Tidying,
    /// What is said of content that is there, as deletions do.
    Note,
}

impl Log {
    /// Writes on in a pack whose records end somewhere. What lies behind is cut off.
    pub(crate) fn resume(packs: Arc<Packs>, head: Head, end: u64) -> io::Result<Self> {
        let path = packs.path(head.id);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        file.set_len(end)?;
        let (direct, gathering) = (Direct::open(&path), Gathering::new());
        Ok(Self { packs, head, file, direct, gathering, end, allocated: end, spoilt: false })
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
        let mut allocated = HEAD_LEN + KEPT_FOR_DELETING + KEPT_FOR_TIDYING;
        let begun = allocate(&file, 0, allocated)
            .or_else(|_| {
                allocated = HEAD_LEN + KEPT_AT_LEAST;
                allocate(&file, 0, allocated)
            })
            .and_then(|()| file.write_all_at(&head.encode(), 0))
            .and_then(|()| Ok(fsync(&file)?))
            .and_then(|()| Ok(fsync(File::open(packs.directory())?)?));
        if let Err(error) = begun {
            // It is empty, and a pack that is not there is better than one that cannot be written.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let (direct, gathering) = (Direct::open(&path), Gathering::new());
        Ok(Self { packs, head, file, direct, gathering, end: HEAD_LEN, allocated, spoilt: false })
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

    /// Sees to it that there is room up to some offset, and behind it what is kept for purposes that come before.
    pub(crate) fn reserve(&mut self, until: u64, purpose: Purpose) -> io::Result<()> {
        let needed = match purpose {
            Purpose::Content => until + KEPT_FOR_TIDYING + KEPT_FOR_DELETING,
            Purpose::Tidying => until + KEPT_FOR_DELETING,
            Purpose::Note => until,
        };
        // What was kept and is used up is kept again as soon as there is room.
        let wanted = until + KEPT_FOR_TIDYING + KEPT_FOR_DELETING;
        if wanted <= self.allocated {
            return Ok(());
        }
        let mut result = Ok(());
        // The last room of a disk is taken in small steps, and what makes room takes no more of it than it must.
        let generous = if purpose == Purpose::Content { wanted + ALLOCATED_AHEAD } else { wanted };
        for until in [generous, wanted, needed] {
            if until <= self.allocated {
                return Ok(());
            }
            result = allocate(&self.file, self.allocated, until - self.allocated);
            match &result {
                Ok(()) => {
                    self.allocated = until;
                    return Ok(());
                }
                Err(error) if crate::error::is_full(error) => {}
                Err(_) => break,
            }
        }
        result
    }

    /// Appends what records are made of, and returns when all of it is durable. Where it fails, nothing was appended.
    pub(crate) fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let end = self.end + slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        let parts = slices.iter().map(|slice| &**slice);
        let mut rest = match self.direct.write_parts(parts, self.end, &self.file, &mut self.gathering) {
            Ok(true) => &mut [],
            Ok(false) => slices,
            Err(error) => return self.take_back(error),
        };
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
        self.end = end;
        Ok(())
    }

    /// Ends this pack and begins the next. Where that fails, this pack goes on.
    pub(crate) fn rotate(&mut self, next_claim: u64) -> io::Result<()> {
        let id = PackId(self.head.id.0 + 1);
        let begin = || Self::begin(Arc::clone(&self.packs), id, next_claim, Some((self.head.id, self.end)));
        let begun = match begin() {
            // What was kept here is kept there.
            Err(error) if crate::error::is_full(&error) && self.file.set_len(self.end).is_ok() => {
                begin().inspect_err(|_| self.allocated = self.end)
            }
            begun => begun,
        };
        let next = match begun {
            Ok(next) => next,
            Err(error) => {
                // What is left of it says that this pack ends here, and the next start would believe it.
                self.spoilt |= self.packs.path(id).exists();
                return Err(error);
            }
        };
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
