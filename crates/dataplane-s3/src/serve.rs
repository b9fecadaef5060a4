//! Reading content, verified.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use mainstay_content::{Damage, Header, Piece, Reader};
use mainstay_dataplane::{Address, Body, ContentKey, Serve, ServeError, Served, Trouble, Verified, Verify};
use quick_cache::{Weighter, sync::Cache};
use tokio_util::task::AbortOnDropHandle;

use crate::failure::Failure;
use crate::in_use::Use;
use crate::ingest::blocking;
use crate::keys::DataId;
use crate::plane::{Inner, WINDOW_GROUPS};
use crate::publish::Entry;
use crate::record::Place;

/// Windows of a stream that are read while one is being sent: one request's time is hidden behind the others'. With the
/// one that is sent, this is a stream's memory.
const READ_AHEAD: usize = 3;

/// Bytes of headers that are remembered: those of contents of 32 GiB together.
const LAYOUTS_WEIGHT: u64 = 16 * 1024 * 1024;

/// How many headers are expected to be remembered, each of content of some tens of MiB.
const LAYOUTS_EXPECTED: usize = 1_024;

/// What must be known to read content that lies apart.
#[derive(Debug)]
struct Layout {
    header: Arc<Header>,
    data: DataId,
    segment_len: u64,
}

/// The layouts of contents that were read last.
pub(crate) struct Layouts(Cache<Address, Arc<Layout>, HeaderWeight>);

#[derive(Debug, Clone)]
struct HeaderWeight;

/// Content that is being read.
struct Content {
    plane: Arc<Inner>,
    reader: Reader,
    bytes: Stored,
}

/// Where its stored bytes are.
enum Stored {
    Here(Bytes),
    Apart { layout: Arc<Layout>, _use: Use },
}

impl Inner {
    pub(crate) async fn serve(self: &Arc<Self>, request: Serve) -> Result<Served, ServeError> {
        let content = Arc::new(self.content(request.address, request.key, true).await?);
        let size = content.reader.header().size();
        let range = content.reader.range(request.range)?;
        let mut windows = windows(&content, range);
        let Some(first) = windows.next() else { return Ok(Served { size, body: Body::Whole(Bytes::new()) }) };
        let first = Arc::clone(&content).read(first).await?;
        let mut rest = windows.peekable();
        if rest.peek().is_none() {
            return Ok(Served { size, body: Body::Whole(first) });
        }
        let first = stream::once(std::future::ready(Ok(first)));
        Ok(Served { size, body: Body::Stream(Box::pin(first.chain(read_ahead(content, rest)))) })
    }

    pub(crate) async fn verify(self: &Arc<Self>, request: Verify) -> Result<Verified, ServeError> {
        let content = Arc::new(self.content(request.address, request.key, false).await?);
        let size = content.reader.header().size();
        let windows = windows(&content, 0..size);
        let mut pieces = std::pin::pin!(read_ahead(content, windows));
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(Verified { size })
    }

    /// Finds content, and keeps its data from being removed.
    async fn content(
        self: &Arc<Self>,
        address: Address,
        key: Option<ContentKey>,
        remembered: bool,
    ) -> Result<Content, ServeError> {
        let (header, bytes) = self.locate(address, remembered).await?;
        if header.address() != address {
            return Err(self.damaged(address, Damage::Header("it is that of other content")));
        }
        let reader = Reader::new(header, key.as_ref()).map_err(ServeError::KeyNeeded)?;
        Ok(Content { plane: Arc::clone(self), reader, bytes })
    }

    /// The lock is held until the data is in use: whoever removes it looks for users after the record is gone.
    async fn locate(&self, address: Address, remembered: bool) -> Result<(Arc<Header>, Stored), ServeError> {
        let _shared = self.lock(&address).read().await;
        if remembered && let Some(layout) = self.layouts.get(&address) {
            return Ok(self.apart(layout));
        }
        let (entry, within) = match self.read_record(&address, None).await.map_err(Trouble::from)? {
            (Entry::Damaged { .. }, _) => self.read_record(&address, None).await.map_err(Trouble::from)?,
            read => read,
        };
        let record = match entry {
            Entry::Present { record, .. } => record,
            Entry::Absent => return Err(ServeError::Absent(address)),
            Entry::Damaged { damage, .. } => return Err(self.damaged(address, damage)),
        };
        let Place::Apart { data, segment_len, .. } = record.place else {
            let (header, header_len) = Header::decode(&within).map_err(|damage| self.damaged(address, damage))?;
            return Ok((Arc::new(header), Stored::Here(within.slice(header_len..))));
        };
        let header = match self.read_header(data).await {
            Err(ReadError::Damaged(_)) => self.read_header(data).await,
            read => read,
        };
        let header = header.map_err(|error| self.refusal(address, error))?;
        let layout = Arc::new(Layout { header: Arc::new(header), data, segment_len: u64::from(segment_len.max(1)) });
        self.layouts.0.insert(address, Arc::clone(&layout));
        Ok(self.apart(layout))
    }

    async fn read_header(&self, data: DataId) -> Result<Header, ReadError> {
        let found = self.store.get(&data.header(), None).await?;
        let encoded = found.ok_or(Damage::Header("the store has lost it"))?.into_bytes();
        Ok(Header::decode(&encoded)?.0)
    }

    fn apart(&self, layout: Arc<Layout>) -> (Arc<Header>, Stored) {
        let header = Arc::clone(&layout.header);
        let in_use = self.in_use.begin(layout.data);
        (header, Stored::Apart { layout, _use: in_use })
    }

    fn damaged(&self, address: Address, damage: Damage) -> ServeError {
        self.damage_seen.remember(address);
        damage.of(address)
    }

    fn refusal(&self, address: Address, error: ReadError) -> ServeError {
        match error {
            ReadError::Damaged(damage) => self.damaged(address, damage),
            ReadError::Failed(failure) => Trouble::from(failure).into(),
        }
    }
}

impl Content {
    /// A window's content. What was damaged on its way here, and not where it lies, is right when it is read again.
    async fn read(self: Arc<Self>, piece: Piece) -> Result<Bytes, ServeError> {
        let read = match self.read_once(&piece).await {
            Err(ReadError::Damaged(_)) if matches!(self.bytes, Stored::Apart { .. }) => self.read_once(&piece).await,
            read => read,
        };
        read.map_err(|error| self.plane.refusal(self.reader.header().address(), error))
    }

    async fn read_once(self: &Arc<Self>, piece: &Piece) -> Result<Bytes, ReadError> {
        let stored = match &self.bytes {
            Stored::Here(bytes) => slice_of(bytes, &piece.stored)?,
            Stored::Apart { layout, .. } => self.fetch(layout, &piece.stored).await?,
        };
        if self.reader.header().form().is_plain() {
            return Ok(self.reader.open(piece, stored, &self.plane.pool)?);
        }
        let (content, piece) = (Arc::clone(self), piece.clone());
        Ok(blocking(move || content.reader.open(&piece, stored, &content.plane.pool)).await?)
    }

    /// Stored bytes of some segments.
    async fn fetch(&self, layout: &Layout, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let wanted = (range.end - range.start) as usize;
        let mut parts = Vec::with_capacity(2);
        let mut at = range.start;
        while at < range.end {
            let number = at / layout.segment_len;
            let start = number * layout.segment_len;
            let end = range.end.min(start + layout.segment_len);
            let found = self.plane.store.get(&layout.data.segment(number), Some(at - start..end - start)).await?;
            let found = found.ok_or(ReadError::Damaged(Damage::Length { expected: end - at, found: 0 }))?;
            parts.push(found.bytes);
            at = end;
        }
        Ok(self.together(parts, wanted))
    }

    /// Bytes that came in parts, in one buffer: a used one, where there is one that is long enough.
    fn together(&self, parts: Vec<opendal::Buffer>, wanted: usize) -> Bytes {
        let len = parts.iter().map(opendal::Buffer::len).sum::<usize>();
        let chunks = parts.into_iter().flatten();
        if len != wanted || len > self.plane.pool.buffer_len() {
            return chunks
                .fold(BytesMut::with_capacity(len), |mut all, chunk| {
                    all.extend_from_slice(&chunk);
                    all
                })
                .freeze();
        }
        let mut buffer = self.plane.pool.take();
        let mut filled = 0;
        for chunk in chunks {
            buffer[filled..filled + chunk.len()].copy_from_slice(&chunk);
            filled += chunk.len();
        }
        buffer.freeze(filled)
    }
}

/// Why stored bytes were not read.
enum ReadError {
    Damaged(Damage),
    Failed(Failure),
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn slice_of(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes, Damage> {
    let (start, end) = (range.start as usize, range.end as usize);
    if end > bytes.len() {
        return Err(Damage::Length {
            expected: range.end - range.start,
            found: bytes.len().saturating_sub(start) as u64,
        });
    }
    Ok(bytes.slice(start..end))
}

/// The windows of a range, one after another.
fn windows(content: &Arc<Content>, mut range: Range<u64>) -> impl Iterator<Item = Piece> + Send + use<> {
    let content = Arc::clone(content);
    std::iter::from_fn(move || {
        let piece = content.reader.piece(&range, WINDOW_GROUPS)?;
        range.start += piece.len();
        Some(piece)
    })
}

/// Reads windows ahead of whoever takes them, on tasks of their own: a reader that pauses holds up no request. The first
/// error is the end.
fn read_ahead(
    content: Arc<Content>,
    windows: impl Iterator<Item = Piece> + Send,
) -> impl Stream<Item = Result<Bytes, ServeError>> + Send {
    let mut failed = false;
    stream::iter(windows)
        .map(move |piece| AbortOnDropHandle::new(tokio::spawn(Arc::clone(&content).read(piece))))
        .buffered(READ_AHEAD)
        .map(|read| {
            read.unwrap_or_else(|error| Err(Trouble::unavailable(format!("a read was broken off: {error}")).into()))
        })
        .take_while(move |read| {
            let go_on = !failed;
            failed = read.is_err();
            std::future::ready(go_on)
        })
}

impl Layouts {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(LAYOUTS_EXPECTED, LAYOUTS_WEIGHT, HeaderWeight))
    }

    fn get(&self, address: &Address) -> Option<Arc<Layout>> {
        self.0.get(address)
    }

    pub(crate) fn remove(&self, address: &Address) {
        self.0.remove(address);
    }
}

impl Weighter<Address, Arc<Layout>> for HeaderWeight {
    fn weight(&self, _: &Address, layout: &Arc<Layout>) -> u64 {
        // A value of the tree, and a block of the table; and what surrounds them.
        layout.header.tree().groups() * 48 + 256
    }
}
