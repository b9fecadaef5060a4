//! Reading a pack from end to end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::record::ALIGNMENT;
use super::{HEAD_LEN, Head, Note, PackId, PackKey, Prefix, Spot, parse};

/// Bytes that are read at once: some fifteen records of 4 KiB.
const WINDOW: usize = 64 << 10;

/// Goes over the records of a pack in their order.
pub(crate) struct Scan<'a> {
    file: &'a File,
    pack: PackId,
    key: PackKey,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What lies in a pack.
pub(crate) enum Found {
    Record {
        spot: Spot,
        prefix: Prefix,
        note: Note,
    },
    /// Bytes that are no record, between records or at the end: damage, or what a crash left unfinished.
    Nothing {
        from: u64,
        to: u64,
    },
}

/// Reads the head of a pack.
pub(crate) fn read_head(file: &File) -> io::Result<Result<Head, &'static str>> {
    let mut bytes = [0; HEAD_LEN as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Head::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err("it is shorter than a head")),
        Err(error) => Err(error),
    }
}

impl<'a> Scan<'a> {
    /// The records of a pack between two offsets; the first is that of a record.
    pub(crate) fn new(file: &'a File, head: &Head, from: u64, end: u64) -> Self {
        let (window, window_at) = (Vec::new(), 0);
        Self { file, pack: head.id, key: head.key, at: from.max(HEAD_LEN), end, window, window_at }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        if let Some((spot, prefix, note)) = self.record_at(self.at)? {
            self.at += u64::from(spot.len);
            return Ok(Some(Found::Record { spot, prefix, note }));
        }
        let from = self.at;
        self.at = self.next_record()?;
        Ok(Some(Found::Nothing { from, to: self.at }))
    }

    /// The body of a record that was found.
    pub(crate) fn body(&self, spot: Spot, prefix: &Prefix) -> io::Result<Vec<u8>> {
        let mut body = vec![0; prefix.body_len as usize];
        self.file.read_exact_at(&mut body, u64::from(spot.offset) + prefix.frame_len() as u64)?;
        Ok(body)
    }

    fn record_at(&mut self, at: u64) -> io::Result<Option<(Spot, Prefix, Note)>> {
        let (pack, key) = (self.pack, self.key);
        let Ok(offset) = u32::try_from(at) else { return Ok(None) };
        let Some(prefix) = Prefix::read(self.bytes(at, Prefix::LEN)?) else { return Ok(None) };
        let Some((prefix, note)) = parse(self.bytes(at, prefix.frame_len())?, pack, &key, offset) else {
            return Ok(None);
        };
        let Ok(len) = u32::try_from(prefix.record_len()) else { return Ok(None) };
        // A record that ends beyond the end was being written when the write failed.
        Ok((at + u64::from(len) <= self.end).then_some((Spot { pack, offset, len }, prefix, note)))
    }

    /// Where the next record begins behind a place where none does; the end, where there is none.
    fn next_record(&mut self) -> io::Result<u64> {
        let mut at = self.at + ALIGNMENT as u64;
        loop {
            at = self.data_from(at)?;
            if at >= self.end {
                return Ok(self.end);
            }
            let window_end = at + WINDOW as u64;
            while at < window_end.min(self.end) {
                if self.record_at(at)?.is_some() {
                    return Ok(at);
                }
                at += ALIGNMENT as u64;
            }
        }
    }

    /// The first offset that may not be zero: what is allocated in advance is passed over unread.
    fn data_from(&self, at: u64) -> io::Result<u64> {
        match seek(self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(data.max(at).next_multiple_of(ALIGNMENT as u64).max(at)),
            Err(Errno::NXIO) => Ok(self.end),
            // A file system that cannot tell is read.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(at),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes of the pack, fewer where it ends.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + len as u64 > end {
            self.window.resize(WINDOW.max(len), 0);
            self.window_at = at;
            let mut filled = 0;
            while filled < self.window.len() {
                match self.file.read_at(&mut self.window[filled..], at + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.window.truncate(filled);
        }
        let from = (at - self.window_at) as usize;
        let to = (from + len).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }
}
