//! Large content, in files of its own.
//!
//! A file holds the stored bytes, the content's header, and a footer which says where the header begins. It is written
//! under a name of its own in `incoming/`, made durable, and renamed; only then does a record name it. No file is ever
//! written again, and no two have the same number: a reader, a writer and a deletion of the same content never meet.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_content::Header;
use mainstay_dataplane::Address;
use mainstay_types::Digest;
use rustix::fs::fsync;

use crate::direct::Direct;
use crate::entry::FileRef;
use crate::index::Index;
use crate::layout::Layout;

/// Bytes of the footer: what it is and its version, where the header begins, how long it is, and a check.
pub(crate) const FOOTER_LEN: usize = 48;

/// The last digit is the version.
const MAGIC: &[u8; 16] = b"mainstay file  1";

/// The files of a store.
#[derive(Clone)]
pub(crate) struct Files {
    layout: Arc<Layout>,
    next: Arc<AtomicU64>,
    /// The first number that this process gives: what has a lower one and is in no entry is nobody's.
    first: u64,
}

/// A file that content is coming into. Dropped, it is gone.
pub(crate) struct Incoming {
    file: File,
    direct: Direct,
    path: Option<PathBuf>,
    number: u64,
    len: u64,
}

/// A file that no record names yet, or any more. Dropped, it is gone.
pub(crate) struct LooseFile {
    reference: FileRef,
    path: Option<PathBuf>,
}

impl Files {
    /// The first number is higher than all that were given before.
    pub(crate) fn new(layout: Arc<Layout>, first: u64) -> Self {
        Self { layout, next: Arc::new(AtomicU64::new(first)), first }
    }

    /// Begins a file. No room is taken for what the stream is said to have: anybody can say anything.
    pub(crate) fn begin(&self) -> io::Result<Incoming> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.layout.incoming().join(number.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Incoming { file, direct: Direct::open(&path), path: Some(path), number, len: 0 })
    }

    /// Gives a file its end and its name, durably.
    pub(crate) fn publish(&self, mut incoming: Incoming, header: &Header) -> io::Result<LooseFile> {
        let encoded = header.encode();
        let footer = footer(incoming.len, &encoded);
        incoming.append(&encoded)?;
        incoming.append(&footer)?;
        fsync(&incoming.file)?;
        let reference = FileRef { number: incoming.number, len: incoming.len };
        let path = self.layout.file(&header.address(), reference);
        let directory = path.parent().expect("the path of a file has a directory");
        match std::fs::create_dir(directory) {
            Ok(()) => fsync(File::open(self.layout.files())?)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if let Some(temporary) = incoming.path.take() {
            std::fs::rename(&temporary, &path).inspect_err(|_| incoming.path = Some(temporary))?;
        }
        let new = LooseFile { reference, path: Some(path.clone()) };
        fsync(File::open(directory)?)?;
        Ok(new)
    }

    pub(crate) fn open(&self, address: &Address, file: FileRef) -> io::Result<File> {
        File::open(self.layout.file(address, file))
    }

    /// A file that no record names any more: it goes when this is dropped.
    pub(crate) fn of(&self, address: &Address, file: FileRef) -> LooseFile {
        LooseFile { reference: file, path: Some(self.layout.file(address, file)) }
    }

    /// Removes what a process that was killed had begun to take in.
    pub(crate) fn clear_incoming(&self) -> io::Result<u64> {
        let mut removed = 0;
        for found in std::fs::read_dir(self.layout.incoming())? {
            std::fs::remove_file(found?.path())?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes files of earlier processes that no record names, and answers the bytes that they took. Content that is given
    /// up meanwhile removes its file itself.
    pub(crate) fn sweep(&self, index: &Index) -> io::Result<u64> {
        let mut freed = 0;
        for directory in std::fs::read_dir(self.layout.files())? {
            for found in std::fs::read_dir(directory?.path())? {
                let found = found?;
                let Some((address, number)) = found.file_name().to_str().and_then(parse_name) else { continue };
                if number >= self.first {
                    continue;
                }
                let entry = index.find(&address).map_err(io::Error::other)?;
                if entry.and_then(|entry| entry.file).is_some_and(|file| file.number == number) {
                    continue;
                }
                freed += remove(&found.path())?;
            }
        }
        Ok(freed)
    }
}

impl Incoming {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.direct.write(bytes, self.len, &self.file)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

impl LooseFile {
    pub(crate) fn reference(&self) -> FileRef {
        self.reference
    }

    /// A record names it: it stays.
    pub(crate) fn stays(mut self) {
        self.path = None;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        discard(self.path.take());
    }
}

impl Drop for LooseFile {
    fn drop(&mut self) {
        discard(self.path.take());
    }
}

fn discard(path: Option<PathBuf>) {
    if let Some(path) = path
        && let Err(error) = remove(&path)
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove content that is not kept; the next start does");
    }
}

/// Removes a file that may be gone already, and answers the bytes that it took.
fn remove(path: &Path) -> io::Result<u64> {
    let removed = std::fs::metadata(path).and_then(|found| std::fs::remove_file(path).map(|()| found.len()));
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        removed => removed,
    }
}

/// Where the header of a file begins, and where it ends. `None` where that is no footer.
pub(crate) fn parse_footer(footer: &[u8]) -> Option<(u64, u64)> {
    let footer: &[u8; FOOTER_LEN] = footer.try_into().ok()?;
    let (checked, check) = footer.split_at(FOOTER_LEN - 16);
    if !checked.starts_with(MAGIC) || Digest::of(checked).as_bytes()[..16] != *check {
        return None;
    }
    let number = |at: usize| checked[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (start, len) = (number(16)?, number(24)?);
    Some((start, start.checked_add(len)?))
}

fn footer(header_start: u64, header: &[u8]) -> [u8; FOOTER_LEN] {
    let mut footer = [0; FOOTER_LEN];
    footer[..16].copy_from_slice(MAGIC);
    footer[16..24].copy_from_slice(&header_start.to_le_bytes());
    footer[24..32].copy_from_slice(&(header.len() as u64).to_le_bytes());
    let check = Digest::of(&footer[..32]);
    footer[32..].copy_from_slice(&check.as_bytes()[..16]);
    footer
}

fn parse_name(name: &str) -> Option<(Address, u64)> {
    let (digest, number) = name.split_once('-')?;
    Some((format!("blake3:{digest}").parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::remove;

    #[test]
    fn a_file_that_is_gone_already_took_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("content");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(remove(&path).unwrap(), 100);
        assert_eq!(remove(&path).unwrap(), 0);
        assert!(remove(directory.path()).is_err());
    }
}
