//! Bytes on their way.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;

use crate::ServeError;

/// Bytes that come in. Nothing is read ahead of what is being stored, and a stream that ends in an error, or is dropped,
/// leaves nothing behind.
pub type Source = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

/// Bytes that go out, verified. An error ends the stream.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, ServeError>> + Send>>;

/// Why a caller's stream broke off. It comes back to the caller as it was.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// What is served of content.
pub enum Body {
    /// All of it at once: little enough to be sent with the head of an answer.
    Whole(Bytes),
    Stream(ByteStream),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream(..)"),
        }
    }
}
