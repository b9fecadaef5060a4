//! The body of an object or a part: unframed and verified on its way to where it is kept.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use mainstay_bucket::{Checksum, ChecksumAlgorithm};
use mainstay_dataplane::SourceError;

use super::chunked::{Chunked, Piece};
use super::{BodyError, Digester, Framing, Measured, Paced};

/// What is known of a body before it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In bytes, without framing.
    pub size: u64,
    pub checksum: WantedChecksum,
}

/// The checksum that an object gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedChecksum {
    /// Somebody else verifies it.
    None,
    /// Whatever it is.
    Computed(ChecksumAlgorithm),
    /// The one that the head tells.
    Told(Checksum),
    /// The one that a trailer will tell.
    Trailer(ChecksumAlgorithm),
}

/// What a body turned out to be, once its stream has ended well.
pub type Received = Arc<OnceLock<Checksum>>;

/// A stream of a body's bytes, which ends in an error where they are not what was announced.
pub struct Upload {
    /// None where there is nothing to come.
    body: Option<Paced>,
    chunked: Option<Box<Chunked>>,
    /// What has come and is still framed.
    input: Bytes,
    left: u64,
    digester: Option<Digester>,
    checksum: WantedChecksum,
    received: Received,
    ended: bool,
}

impl Upload {
    pub fn new(body: Paced, framing: Framing, wanted: Wanted) -> (Self, Received) {
        let chunked = match framing {
            Framing::Plain { .. } => None,
            Framing::Chunked(chunked) => Some(chunked),
        };
        Self::of(Some(body), chunked, wanted)
    }

    /// The stream of a request without a body.
    pub fn empty(wanted: Wanted) -> (Self, Received) {
        Self::of(None, None, wanted)
    }

    fn of(body: Option<Paced>, chunked: Option<Box<Chunked>>, wanted: Wanted) -> (Self, Received) {
        let received = Received::default();
        let algorithm = match &wanted.checksum {
            WantedChecksum::None => None,
            WantedChecksum::Computed(algorithm) | WantedChecksum::Trailer(algorithm) => Some(*algorithm),
            WantedChecksum::Told(checksum) => Some(checksum.algorithm()),
        };
        let upload = Self {
            body,
            chunked,
            input: Bytes::new(),
            left: wanted.size,
            digester: algorithm.map(Digester::new),
            checksum: wanted.checksum,
            received: received.clone(),
            ended: false,
        };
        (upload, received)
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            if let Some(chunked) = &mut self.chunked {
                match chunked.next(&mut self.input)? {
                    Piece::Data(bytes) => return Poll::Ready(Ok(Some(bytes))),
                    Piece::NeedsMore | Piece::Done => {}
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match ready!(Pin::new(body).poll_next(context)).transpose()? {
                Some(bytes) if self.chunked.is_some() => self.input = bytes,
                Some(bytes) => return Poll::Ready(Ok(Some(bytes))),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Counts and hashes bytes that have come.
    fn measure(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(BodyError::TooLong)?;
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
        Ok(())
    }

    /// Compares what came with what was announced.
    fn conclude(&mut self) -> Result<(), BodyError> {
        if let Some(chunked) = &mut self.chunked {
            chunked.finish()?;
        }
        if self.left > 0 {
            return Err(BodyError::Incomplete);
        }
        let Some(checksum) = self.digester.take().map(Digester::finish) else { return Ok(()) };
        let mismatch = || BodyError::Mismatch(Measured::Checksum(checksum.algorithm()));
        match &self.checksum {
            WantedChecksum::None | WantedChecksum::Computed(_) => {}
            WantedChecksum::Told(told) if *told != checksum => return Err(mismatch()),
            WantedChecksum::Told(_) => {}
            WantedChecksum::Trailer(algorithm) => {
                let value = self.chunked.as_ref().and_then(|chunked| chunked.trailer_value(algorithm.header()));
                let told = Checksum::parse(*algorithm, value.ok_or(BodyError::Trailer)?);
                if told.map_err(|_| BodyError::Trailer)? != checksum {
                    return Err(mismatch());
                }
            }
        }
        // Nobody else sets it.
        let _ = self.received.set(checksum);
        Ok(())
    }
}

impl Stream for Upload {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let outcome = match ready!(self.poll_data(context)) {
            Ok(Some(bytes)) => self.measure(&bytes).map(|()| Some(bytes)),
            Ok(None) => self.conclude().map(|()| None),
            Err(error) => Err(error),
        };
        self.ended = !matches!(outcome, Ok(Some(_)));
        Poll::Ready(outcome.map_err(SourceError::from).transpose())
    }
}
