//! Writing past the page cache (open(2), `O_DIRECT`).
//!
//! Many bytes at once get to the disk several times faster so: no memory has to be found and cleared for them, they are
//! copied once less, and the disk works while the next bytes are digested rather than when they are synchronised. It is a
//! way to the disk and no promise: what is written so is synchronised like everything else. Reading is another matter: the
//! system reads ahead, and what was read is likely to be read again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use mainstay_content::PAGE;
use rustix::fs::OFlags;

/// Bytes that are gathered for one write. Less gets slower to the disk, more no faster.
const GATHERED: usize = 1 << 20;

/// Bytes from which on they go past the page cache. Less is likely to be read again soon, and one copy of it is cheap.
const FROM: usize = 256 << 10;

/// A way to a file past the page cache; where the file system has none, the file is written like any other.
pub(crate) struct Direct(Option<File>);

/// Pages in which bytes are gathered that lie about elsewhere.
pub(crate) struct Gathering {
    memory: Box<[u8]>,
    start: usize,
}

impl Direct {
    /// The way to a file that is there.
    pub(crate) fn open(path: &Path) -> Self {
        let flags = OFlags::DIRECT.bits() as i32;
        Self(OpenOptions::new().write(true).custom_flags(flags).open(path).ok())
    }

    /// Writes bytes at an offset: past the page cache where they, their memory and the offset are whole pages, else through
    /// `beside`, which is the same file.
    pub(crate) fn write(&self, bytes: &[u8], at: u64, beside: &File) -> io::Result<()> {
        match &self.0 {
            Some(file) if are_pages(bytes, at) => file.write_all_at(bytes, at),
            _ => beside.write_all_at(bytes, at),
        }
    }

    /// Writes parts one after the other at an offset, what fills whole pages past the page cache; answers whether it did,
    /// which is not worth it for little. `beside` is the same file, for what is left before and behind.
    pub(crate) fn write_parts<'a>(
        &self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        mut at: u64,
        beside: &File,
        gathering: &mut Gathering,
    ) -> io::Result<bool> {
        if self.0.is_none() || parts.clone().map(<[u8]>::len).sum::<usize>() < FROM {
            return Ok(false);
        }
        let mut gathered = 0;
        for mut part in parts {
            while !part.is_empty() {
                let missing = (at + gathered as u64).next_multiple_of(PAGE as u64) - at;
                let now = match gathered {
                    // Up to the next page.
                    0 if missing > 0 => {
                        let now = part.len().min(missing as usize);
                        beside.write_all_at(&part[..now], at)?;
                        at += now as u64;
                        now
                    }
                    _ => {
                        let room = &mut gathering.pages()[gathered..];
                        let now = part.len().min(room.len());
                        room[..now].copy_from_slice(&part[..now]);
                        gathered += now;
                        now
                    }
                };
                part = &part[now..];
                if gathered == GATHERED {
                    self.write(gathering.pages(), at, beside)?;
                    at += GATHERED as u64;
                    gathered = 0;
                }
            }
        }
        let (pages, rest) = gathering.pages()[..gathered].split_at(gathered / PAGE * PAGE);
        self.write(pages, at, beside)?;
        beside.write_all_at(rest, at + pages.len() as u64)?;
        Ok(true)
    }
}

impl Gathering {
    pub(crate) fn new() -> Self {
        let memory = vec![0; GATHERED + PAGE].into_boxed_slice();
        let start = memory.as_ptr().align_offset(PAGE);
        Self { memory, start }
    }

    fn pages(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + GATHERED]
    }
}

fn are_pages(bytes: &[u8], at: u64) -> bool {
    let aligned = bytes.as_ptr().align_offset(PAGE) == 0 && bytes.len().is_multiple_of(PAGE);
    aligned && at.is_multiple_of(PAGE as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::{Direct, FROM, GATHERED, Gathering};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_written_past_the_page_cache_is_there(
            before in 0..9000usize,
            lens in prop::collection::vec(prop_oneof![0..5000usize, FROM..GATHERED + 5000], 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
            let first: Vec<u8> = (0..before).map(|at| at as u8).collect();
            file.write_all_at(&first, 0).unwrap();
            let parts: Vec<Vec<u8>> = lens.iter().enumerate().map(|(n, len)| vec![n as u8 + 1; *len]).collect();
            let (direct, mut gathering) = (Direct::open(&path), Gathering::new());
            let slices = || parts.iter().map(Vec::as_slice);
            let written = direct.write_parts(slices(), before as u64, &file, &mut gathering).unwrap();
            prop_assert_eq!(written, direct.0.is_some() && slices().map(<[u8]>::len).sum::<usize>() >= FROM);
            if written {
                let expected = [first, parts.concat()].concat();
                prop_assert!(fs::read(&path).unwrap() == expected);
            }
        }
    }
}
