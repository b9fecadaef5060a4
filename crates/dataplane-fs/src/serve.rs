//! Giving content out, and looking whether it is whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use mainstay_content::{Damage, GROUP_LEN, Header, Reader};
use mainstay_dataplane::{Address, Body, ByteStream, ContentKey, Serve, ServeError, Served, Verified, Verify};
use rustix::io::Errno;

use crate::damaged::Damaged;
use crate::error::trouble;
use crate::files::{FOOTER_LEN, parse_footer};
use crate::index::Located;
use crate::pack::{Prefix, body_check, parse, read_head};
use crate::read::{ReadError, Readable};
use crate::store::{Store, blocking};

/// Groups in a piece: what is verified and handed out at a time. Streams of many clients hold one of them each.
const PIECE_GROUPS: u64 = 4;

/// Bytes of a record up to which all of it is read at once.
const READ_WHOLE_UP_TO: u32 = 128 << 10;

/// Bytes of a header for each group of its content, at most: a digest and a length.
const HEADER_PER_GROUP: u64 = 40;

/// Bytes of a record before its stored bytes, without what is there for each group, at most.
const HEADER_BESIDE: u64 = 1024;

/// Bytes read at the end of a file at once: the header of content of 100 MiB.
const READ_AT_END: u64 = 64 << 10;

/// How often content that moves while it is looked up is looked up again.
const MAX_LOOKS: usize = 8;

/// Where bytes are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Anywhere,
    Disk,
}

/// Content that was found and whose header is known.
struct Opened {
    address: Address,
    reader: Reader,
    readable: Readable,
    /// Of the first stored byte in the file.
    start: u64,
    /// All stored bytes, where they were read with the header.
    stored: Option<Bytes>,
    origin: Origin,
    damaged: Arc<Damaged>,
}

/// Why content could not be opened.
enum OpenFailure {
    /// What it lies in was removed.
    Gone,
    Damaged(String),
    Read(ReadError),
    Serve(ServeError),
}

impl Store {
    pub(crate) async fn serve(&self, request: Serve) -> Result<Served, ServeError> {
        let Serve { address, range, key } = request;
        let opened = self.open_content(address, key.as_ref(), Origin::Anywhere).await?;
        let size = opened.reader.header().size();
        let range = opened.reader.range(range)?;
        let Some((first, rest)) = opened.piece(range).await? else {
            return Ok(Served { size, body: Body::Whole(Bytes::new()) });
        };
        let body = if rest.is_empty() { Body::Whole(first) } else { Body::Stream(opened.stream(first, rest)) };
        Ok(Served { size, body })
    }

    pub(crate) async fn verify(&self, request: Verify) -> Result<Verified, ServeError> {
        let Verify { address, key } = request;
        let opened = self.open_content(address, key.as_ref(), Origin::Disk).await?;
        let size = opened.reader.header().size();
        let mut range = 0..size;
        while let Some((_, rest)) = opened.piece(range).await? {
            range = rest;
        }
        Ok(Verified { size })
    }

    async fn open_content(
        &self,
        address: Address,
        key: Option<&ContentKey>,
        origin: Origin,
    ) -> Result<Opened, ServeError> {
        self.is_open()?;
        let mut last = None;
        for _ in 0..MAX_LOOKS {
            let located = match self.index.locate_now(&address) {
                Some(located) => located,
                None => {
                    let index = Arc::clone(&self.index);
                    blocking(move || index.locate(&address)).await??
                }
            };
            let Some(located) = located else { return Err(ServeError::Absent(address)) };
            match self.open_at(address, located, key, origin).await {
                Ok(opened) => return Ok(opened),
                Err(OpenFailure::Gone) if last != Some(located) => last = Some(located),
                Err(OpenFailure::Gone) => {
                    return Err(damaged(&self.damaged, address, "what it lies in is missing".into()));
                }
                Err(OpenFailure::Damaged(reason)) => return Err(damaged(&self.damaged, address, reason)),
                Err(OpenFailure::Read(error)) => return Err(read_error(&self.damaged, address, error)),
                Err(OpenFailure::Serve(error)) => return Err(error),
            }
        }
        Err(mainstay_dataplane::Trouble::unavailable("the content is being moved again and again").into())
    }

    async fn open_at(
        &self,
        address: Address,
        located: Located,
        key: Option<&ContentKey>,
        origin: Origin,
    ) -> Result<Opened, OpenFailure> {
        let (header, readable, start, stored) = match located.file {
            Some(file) => {
                let opened = self.files.open(&address, file).map_err(gone)?;
                let readable = Readable { file: Arc::new(opened), pool: self.pool.clone() };
                let header = match self.headers.get(&file.number).filter(|_| origin == Origin::Anywhere) {
                    Some(header) => header,
                    None => {
                        let header = Arc::new(readable.header_of_file(file.len, origin).await?);
                        self.headers.insert(file.number, Arc::clone(&header));
                        header
                    }
                };
                (header, readable, 0, None)
            }
            None => {
                let file = self.packs.file(located.place.pack).map_err(gone)?;
                let readable = Readable { file, pool: self.pool.clone() };
                if origin == Origin::Disk {
                    readable.check_record(address, located).await?;
                }
                readable.record(located, origin).await?
            }
        };
        if header.address() != address {
            return Err(OpenFailure::Damaged("other content lies in its place".into()));
        }
        let reader = Reader::new(header, key).map_err(|needed| OpenFailure::Serve(ServeError::KeyNeeded(needed)))?;
        let damaged = Arc::clone(&self.damaged);
        Ok(Opened { address, reader, readable, start, stored, origin, damaged })
    }
}

impl Opened {
    /// Serves what is left of a range, piece by piece. It holds what it reads from, and nothing else of the store.
    fn stream(self, first: Bytes, rest: Range<u64>) -> ByteStream {
        let state = Some((self, Some(first), rest));
        Box::pin(stream::unfold(state, async |state| {
            let (opened, first, rest) = state?;
            if let Some(first) = first {
                return Some((Ok(first), Some((opened, None, rest))));
            }
            match opened.piece(rest).await {
                Ok(piece) => piece.map(|(bytes, rest)| (Ok(bytes), Some((opened, None, rest)))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The first piece of a range, verified, and what is left of the range.
    async fn piece(&self, range: Range<u64>) -> Result<Option<(Bytes, Range<u64>)>, ServeError> {
        let Some(piece) = self.reader.piece(&range, PIECE_GROUPS) else { return Ok(None) };
        let read = match &self.stored {
            Some(stored) => Ok(stored.slice(piece.stored.start as usize..piece.stored.end as usize)),
            None => {
                let len = (piece.stored.end - piece.stored.start) as usize;
                self.readable.fetch(self.start + piece.stored.start, len, self.origin).await
            }
        };
        let stored = read.map_err(|error| read_error(&self.damaged, self.address, error))?;
        // Where only the key is another one, what comes again is stored anew too: it could not be read as it lies here.
        let opened = self.reader.open(&piece, stored, &self.readable.pool);
        let content = opened.map_err(|damage| damaged(&self.damaged, self.address, damage.to_string()))?;
        Ok(Some((content, range.start + piece.len()..range.end)))
    }
}

impl Readable {
    async fn fetch(&self, offset: u64, len: usize, origin: Origin) -> Result<Bytes, ReadError> {
        if origin == Origin::Anywhere {
            return self.read(offset, len).await;
        }
        let readable = self.clone();
        blocking(move || readable.read_from_disk(offset, len)).await.map_err(ReadError::Trouble)?
    }

    /// The header of content in a file.
    async fn header_of_file(&self, len: u64, origin: Origin) -> Result<Header, OpenFailure> {
        let at_end = len.min(READ_AT_END);
        let end = self.fetch(len - at_end, at_end as usize, origin).await?;
        let footer = end.len().checked_sub(FOOTER_LEN).and_then(|at| parse_footer(&end[at..]));
        let (start, header_end) = footer.ok_or_else(|| OpenFailure::Damaged("its file has no footer".into()))?;
        if header_end > len - FOOTER_LEN as u64 {
            return Err(OpenFailure::Damaged("the footer of its file is another's".into()));
        }
        let encoded = match start.checked_sub(len - at_end) {
            Some(at) => end.slice(at as usize..end.len() - FOOTER_LEN),
            None => self.fetch(start, (header_end - start) as usize, origin).await?,
        };
        let (header, _) = Header::decode(&encoded)?;
        if header.stored_len() != start {
            return Err(OpenFailure::Damaged("its file is not as long as its header says".into()));
        }
        Ok(header)
    }

    /// The header of content in a pack, and its stored bytes, where they are few.
    async fn record(
        self,
        located: Located,
        origin: Origin,
    ) -> Result<(Arc<Header>, Readable, u64, Option<Bytes>), OpenFailure> {
        let place = located.place;
        let groups = located.size.div_ceil(GROUP_LEN as u64);
        let front = match place.len {
            len if len <= READ_WHOLE_UP_TO => len,
            len => ((HEADER_BESIDE + groups * HEADER_PER_GROUP) as u32).min(len),
        };
        let record = self.fetch(place.offset.into(), front as usize, origin).await?;
        let prefix = Prefix::read(&record).ok_or_else(|| OpenFailure::Damaged("there is no record of it".into()))?;
        let frame_len = prefix.frame_len();
        let body = record.get(frame_len..).unwrap_or_default();
        let (header, header_len) = Header::decode(body)?;
        let start = frame_len + header_len;
        let stored_len = header.stored_len();
        if header_len as u64 + stored_len != u64::from(prefix.body_len) {
            return Err(OpenFailure::Damaged("its record is not as long as its header says".into()));
        }
        let whole = start as u64 + stored_len <= record.len() as u64;
        let stored = whole.then(|| record.slice(start..start + stored_len as usize));
        Ok((Arc::new(header), self, u64::from(place.offset) + start as u64, stored))
    }

    /// Whether a record is what was written: without it the content would not be found, were the index lost.
    async fn check_record(&self, address: Address, located: Located) -> Result<(), OpenFailure> {
        let readable = self.clone();
        let check = move || -> Result<bool, ReadError> {
            let place = located.place;
            let Ok(head) = read_head(&readable.file)? else { return Ok(false) };
            let record = readable.read_from_disk(place.offset.into(), place.len as usize)?;
            let Some((prefix, note)) = parse(&record, place.pack, &head.key, place.offset) else { return Ok(false) };
            let body = prefix.frame_len()..prefix.frame_len() + prefix.body_len as usize;
            let is_whole = body.end <= record.len() && body_check(&[record.slice(body)]) == prefix.body_check;
            Ok(is_whole && note.address == address)
        };
        match blocking(check).await.map_err(ReadError::Trouble)?? {
            true => Ok(()),
            false => Err(OpenFailure::Damaged("its record is not what was written".into())),
        }
    }
}

fn read_error(found: &Damaged, address: Address, error: ReadError) -> ServeError {
    match error {
        ReadError::Short => damaged(found, address, "what it lies in ends too early".into()),
        // A disk that cannot read a sector says so; the rest of the store works on.
        ReadError::Io(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            damaged(found, address, format!("the disk cannot read it: {error}"))
        }
        ReadError::Io(error) => trouble("read content", &error).into(),
        ReadError::Trouble(trouble) => trouble.into(),
    }
}

/// Content is damaged. That is logged once.
fn damaged(found: &Damaged, address: Address, reason: String) -> ServeError {
    if found.insert(address) {
        tracing::error!(%address, reason, "content is damaged");
    }
    ServeError::Damaged { address, reason }
}

fn gone(error: io::Error) -> OpenFailure {
    if error.kind() == io::ErrorKind::NotFound { OpenFailure::Gone } else { OpenFailure::Read(error.into()) }
}

impl From<ReadError> for OpenFailure {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Damage> for OpenFailure {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.to_string())
    }
}
