//! Frames: a kind, a length, and as many bytes.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use minicbor::{Decode, Encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The longest message: the largest answer holds content that is served whole, or a page of an inventory.
pub(crate) const MESSAGE_LIMIT: usize = 2 << 20;

/// The longest part of a stream in one frame. Longer ones are cut: two of them are in memory for each stream, at most.
pub(crate) const PART_LIMIT: usize = 256 << 10;

/// A daemon that works on a call says so this often, which also shows it whether anybody still waits for the answer.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long nothing may be heard of a daemon that works. It is long past what a busy machine makes of a heartbeat.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

const HEADER_LEN: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// CBOR.
    Message = 1,
    /// A part of a stream, as it is.
    Part = 2,
    /// The end of a stream, with CBOR that says which.
    End = 3,
    /// Nothing but a sign of life.
    Heartbeat = 4,
}

/// A part of a stream, or its end.
pub(crate) enum Part<T> {
    Bytes(Bytes),
    End(T),
}

/// Reads frames.
pub(crate) struct FrameReader {
    stream: OwnedReadHalf,
    /// What parts are read into. Its memory is used again once nobody holds the parts before.
    buffer: BytesMut,
    /// Whether a stream has begun that has not ended, so that no message can come next.
    streaming: bool,
}

/// Writes frames.
pub(crate) struct FrameWriter {
    stream: OwnedWriteHalf,
}

// === impl FrameReader ===

impl FrameReader {
    pub(crate) fn new(stream: OwnedReadHalf) -> Self {
        Self { stream, buffer: BytesMut::new(), streaming: false }
    }

    /// Whether the other end has hung up, or said something that nobody asked for.
    pub(crate) fn is_stale(&self) -> bool {
        !matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The next message; none where the other end has hung up between two.
    pub(crate) async fn message<T: for<'b> Decode<'b, ()>>(&mut self) -> io::Result<Option<T>> {
        let Some((kind, len)) = self.header().await? else { return Ok(None) };
        if kind != Kind::Message {
            return Err(invalid(format!("a message belongs where a frame of kind {kind:?} came")));
        }
        self.cbor(len).await.map(Some)
    }

    /// The next message, of a daemon that works on it.
    pub(crate) async fn answer<T: for<'b> Decode<'b, ()>>(&mut self) -> io::Result<T> {
        match self.sign_of_life().await? {
            (Kind::Message, len) => self.cbor(len).await,
            (kind, _) => Err(invalid(format!("an answer belongs where a frame of kind {kind:?} came"))),
        }
    }

    /// From now on, until their end, parts of a stream come.
    pub(crate) fn begin_stream(&mut self) {
        self.streaming = true;
    }

    /// Whether a stream has not come to its end.
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// The next part of a stream from a client, who may take any time.
    pub(crate) async fn part<T: for<'b> Decode<'b, ()>>(&mut self) -> io::Result<Part<T>> {
        let (kind, len) = self.header().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.part_of(kind, len).await
    }

    /// The next part of a stream, of a daemon that works on it.
    pub(crate) async fn served_part<T: for<'b> Decode<'b, ()>>(&mut self) -> io::Result<Part<T>> {
        let (kind, len) = self.sign_of_life().await?;
        self.part_of(kind, len).await
    }

    async fn part_of<T: for<'b> Decode<'b, ()>>(&mut self, kind: Kind, len: usize) -> io::Result<Part<T>> {
        match kind {
            Kind::Part => self.bytes(len).await.map(Part::Bytes),
            Kind::End => {
                let end = self.cbor(len).await?;
                self.streaming = false;
                Ok(Part::End(end))
            }
            Kind::Message | Kind::Heartbeat => {
                Err(invalid(format!("a part of a stream belongs where a frame of kind {kind:?} came")))
            }
        }
    }

    /// The next frame that is no heartbeat.
    async fn sign_of_life(&mut self) -> io::Result<(Kind, usize)> {
        loop {
            let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("nothing was heard for {SILENCE:?}"));
            let header = timeout(SILENCE, self.header()).await.map_err(|_| silent())??;
            match header.ok_or(io::ErrorKind::UnexpectedEof)? {
                (Kind::Heartbeat, _) => {}
                frame => return Ok(frame),
            }
        }
    }

    async fn header(&mut self) -> io::Result<Option<(Kind, usize)>> {
        let mut header = [0; HEADER_LEN];
        if self.stream.read(&mut header[..1]).await? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut header[1..]).await?;
        let [kind, len @ ..] = header;
        let len = u32::from_be_bytes(len) as usize;
        let (kind, limit) = match kind {
            1 => (Kind::Message, MESSAGE_LIMIT),
            2 => (Kind::Part, PART_LIMIT),
            3 => (Kind::End, MESSAGE_LIMIT),
            4 => (Kind::Heartbeat, 0),
            other => return Err(invalid(format!("there is no frame of kind {other}"))),
        };
        if len > limit {
            return Err(invalid(format!("a frame of kind {kind:?} has {len} bytes, which is more than {limit}")));
        }
        Ok(Some((kind, len)))
    }

    async fn cbor<T: for<'b> Decode<'b, ()>>(&mut self, len: usize) -> io::Result<T> {
        // A message may hold a key, and memory that is given back must not. It grows with what has come: a length alone
        // takes no memory.
        let mut message = Zeroizing::new(Vec::with_capacity(len));
        (&mut self.stream).take(len as u64).read_to_end(&mut message).await?;
        if message.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        minicbor::decode(&message).map_err(|error| invalid(format!("a message cannot be read: {error}")))
    }

    async fn bytes(&mut self, len: usize) -> io::Result<Bytes> {
        self.buffer.reserve(len);
        let mut rest = (&mut self.stream).take(len as u64);
        while self.buffer.len() < len {
            if rest.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(len).freeze())
    }
}

// === impl FrameWriter ===

impl FrameWriter {
    pub(crate) fn new(stream: OwnedWriteHalf) -> Self {
        Self { stream }
    }

    pub(crate) async fn message<T: Encode<()>>(&mut self, message: &T) -> io::Result<()> {
        self.cbor(Kind::Message, message).await
    }

    /// Writes a part of a stream, in as many frames as it takes.
    pub(crate) async fn part(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let now = bytes.split_to(bytes.len().min(PART_LIMIT));
            let header = header(Kind::Part, now.len());
            self.stream.write_all_buf(&mut Buf::chain(&header[..], now)).await?;
        }
        Ok(())
    }

    pub(crate) async fn end<T: Encode<()>>(&mut self, end: &T) -> io::Result<()> {
        self.cbor(Kind::End, end).await
    }

    pub(crate) async fn heartbeat(&mut self) -> io::Result<()> {
        self.stream.write_all(&header(Kind::Heartbeat, 0)).await
    }

    async fn cbor<T: Encode<()>>(&mut self, kind: Kind, message: &T) -> io::Result<()> {
        let mut frame = Zeroizing::new(vec![0; HEADER_LEN]);
        minicbor::encode(message, &mut *frame)
            .map_err(|error| invalid(format!("a message cannot be written: {error}")))?;
        let len = frame.len() - HEADER_LEN;
        if len > MESSAGE_LIMIT {
            return Err(invalid(format!("a message has {len} bytes, which is more than {MESSAGE_LIMIT}")));
        }
        frame[..HEADER_LEN].copy_from_slice(&header(kind, len));
        self.stream.write_all(&frame).await
    }
}

fn header(kind: Kind, len: usize) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = u32::try_from(len).expect("frames are shorter than 2 MiB").to_be_bytes();
    [kind as u8, a, b, c, d]
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
