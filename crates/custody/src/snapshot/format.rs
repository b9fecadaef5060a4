//! The form of a snapshot: a line that says what it is, a version, and then frames, each its length (4 bytes, little-endian)
//! and CBOR (RFC 8949); the last one holds the BLAKE3 digest of everything before it.

use std::io;

use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::barrier::{LARGEST_VALUE, LONGEST_PATH};

const TITLE: &[u8; 26] = b"mainstay custody snapshot\n";

/// The version that is written and read. A new one must read this one too.
const VERSION: u32 = 1;

/// What no frame is longer than: the largest entry and what stands around it.
const LONGEST_FRAME: usize = LARGEST_VALUE + LONGEST_PATH + 1024;

/// A part of a snapshot. Entries come in the order of their revisions; where a path comes again, the later one counts.
#[derive(Encode, Decode)]
pub(super) enum Frame {
    #[n(0)]
    Entry {
        #[n(0)]
        revision: u64,
        #[n(1)]
        path: String,
        #[n(2)]
        key_version: u32,
        #[cbor(n(3), with = "minicbor::bytes")]
        mark: Vec<u8>,
        #[cbor(n(4), with = "minicbor::bytes")]
        ciphertext: Vec<u8>,
    },
    /// An entry was removed while the snapshot was taken, unless a higher revision of it comes too.
    #[n(1)]
    Removed {
        #[n(0)]
        path: String,
        #[n(1)]
        revision: u64,
    },
    #[n(2)]
    DataKey {
        #[n(0)]
        version: u32,
        #[n(1)]
        installed_at: i64,
        #[cbor(n(2), with = "minicbor::bytes")]
        sealed: Vec<u8>,
    },
    #[n(3)]
    Seal {
        #[n(0)]
        kind: String,
        #[n(1)]
        shares: u8,
        #[n(2)]
        threshold: u8,
        #[n(3)]
        key_id: String,
        #[cbor(n(4), with = "minicbor::bytes")]
        root_key: Vec<u8>,
    },
    #[n(4)]
    Head {
        #[n(0)]
        counter: u64,
        #[cbor(n(1), with = "minicbor::bytes")]
        sealed: Vec<u8>,
    },
    #[n(5)]
    End {
        #[cbor(n(0), with = "minicbor::bytes")]
        digest: [u8; 32],
    },
}

/// Why a stream is not read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it does not begin as a snapshot does")]
    Title,
    #[error("it has version {found}, and this Mainstay reads {VERSION}")]
    Version { found: u32 },
    #[error("it is damaged")]
    Damaged,
    #[error("it ends too early")]
    Short,
    #[error(transparent)]
    Io(io::Error),
}

/// Writes frames, and counts and digests them.
pub(super) struct Output<'a, W> {
    writer: &'a mut W,
    hasher: blake3::Hasher,
    bytes: u64,
}

/// Reads frames, and digests them.
pub(super) struct Input<'a, R> {
    reader: &'a mut R,
    hasher: blake3::Hasher,
}

// === impl Output ===

impl<'a, W: AsyncWrite + Unpin> Output<'a, W> {
    pub async fn begin(writer: &'a mut W) -> io::Result<Self> {
        let mut output = Self { writer, hasher: blake3::Hasher::new(), bytes: 0 };
        output.write(TITLE).await?;
        output.write(&VERSION.to_le_bytes()).await?;
        Ok(output)
    }

    pub async fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = minicbor::to_vec(frame).map_err(io::Error::other)?;
        self.write(&(bytes.len() as u32).to_le_bytes()).await?;
        self.write(&bytes).await
    }

    /// Writes the digest and gives the length of all.
    pub async fn end(mut self) -> io::Result<u64> {
        let digest = *self.hasher.finalize().as_bytes();
        self.frame(&Frame::End { digest }).await?;
        self.writer.flush().await?;
        Ok(self.bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).await
    }
}

// === impl Input ===

impl<'a, R: AsyncRead + Unpin> Input<'a, R> {
    pub async fn begin(reader: &'a mut R) -> Result<Self, Unreadable> {
        let mut input = Self { reader, hasher: blake3::Hasher::new() };
        let mut title = [0; TITLE.len()];
        match input.read(&mut title).await {
            Err(Unreadable::Short) => return Err(Unreadable::Title),
            read => read?,
        }
        if &title != TITLE {
            return Err(Unreadable::Title);
        }
        let mut version = [0; 4];
        input.read(&mut version).await?;
        match u32::from_le_bytes(version) {
            VERSION => Ok(input),
            found => Err(Unreadable::Version { found }),
        }
    }

    /// The next frame; none where that was the last, and its digest is right.
    pub async fn frame(&mut self) -> Result<Option<Frame>, Unreadable> {
        let expected = *self.hasher.finalize().as_bytes();
        let mut length = [0; 4];
        self.read(&mut length).await?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(Unreadable::Damaged);
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes).await?;
        match minicbor::decode(&bytes).map_err(|_| Unreadable::Damaged)? {
            Frame::End { digest } if digest == expected => Ok(None),
            Frame::End { .. } => Err(Unreadable::Damaged),
            frame => Ok(Some(frame)),
        }
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), Unreadable> {
        match self.reader.read_exact(bytes).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Unreadable::Short),
            Err(error) => return Err(Unreadable::Io(error)),
        }
        self.hasher.update(bytes);
        Ok(())
    }
}
