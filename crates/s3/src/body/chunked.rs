//! Bodies in chunks of Amazon's own form (`Content-Encoding: aws-chunked`), with signatures and trailers.
//!
//! "Authenticating requests: transferring a payload in multiple chunks" of the Amazon S3 API reference. What a chunk
//! carries is handed on before its signature has come: whoever keeps it throws it away when the stream ends in an error.

use aws_lc_rs::{digest, hmac};
use bytes::{Buf, Bytes};

use super::BodyError;
use super::framing::SigningKey;

/// The longest line between chunks: a size, a signature, and room for extensions.
const LINE_LIMIT: usize = 1024;
/// Trailers that a body may have: one checksum, its signature, and room for what comes.
const TRAILERS_LIMIT: usize = 16;
/// What the end of the last chunk is called when it is signed apart.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Takes chunks apart. It reads nothing itself.
pub struct Chunked {
    state: State,
    /// The line that has come in part.
    line: Vec<u8>,
    signer: Option<Signer>,
    trailers: Vec<(String, String)>,
}

enum State {
    Head,
    Data {
        left: u64,
        signature: Option<[u8; 32]>,
    },
    /// The line's end behind a chunk.
    DataEnd,
    Trailers,
    Done,
}

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Data(Bytes),
    /// There is no more in what has come.
    NeedsMore,
    Done,
}

/// The chain of the chunks' signatures.
struct Signer {
    key: SigningKey,
    previous: String,
    /// Of the chunk that is coming.
    digest: digest::Context,
}

impl Chunked {
    pub fn unsigned() -> Self {
        Self { state: State::Head, line: Vec::new(), signer: None, trailers: Vec::new() }
    }

    /// Chunks that are signed, each over the one before, the first over the signature of the request's head.
    pub fn signed(key: SigningKey, seed: String) -> Self {
        let signer = Signer { key, previous: seed, digest: digest::Context::new(&digest::SHA256) };
        Self { signer: Some(signer), ..Self::unsigned() }
    }

    /// The next piece of what has come; the input keeps what is not looked at yet.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Piece, BodyError> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some(line) = self.take_line(input)? else { return Ok(Piece::NeedsMore) };
                    let (left, signature) = head(&line)?;
                    if signature.is_none() && self.signer.is_some() {
                        return Err(BodyError::Framing("a chunk has no signature"));
                    }
                    self.state = State::Data { left, signature };
                    if left == 0 {
                        self.end_chunk(signature)?;
                        self.state = State::Trailers;
                    }
                }
                State::Data { left: 0, signature } => {
                    let signature = *signature;
                    self.end_chunk(signature)?;
                    self.state = State::DataEnd;
                }
                State::Data { left, .. } => {
                    if input.is_empty() {
                        return Ok(Piece::NeedsMore);
                    }
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= length as u64;
                    let data = input.split_to(length);
                    if let Some(signer) = &mut self.signer {
                        signer.digest.update(&data);
                    }
                    return Ok(Piece::Data(data));
                }
                State::DataEnd => match self.take_line(input)? {
                    Some(line) if line.is_empty() => self.state = State::Head,
                    Some(_) => return Err(BodyError::Framing("a chunk is longer than its head says")),
                    None => return Ok(Piece::NeedsMore),
                },
                State::Trailers => match self.take_line(input)? {
                    Some(line) if line.is_empty() => self.end_trailers()?,
                    Some(line) => self.trailer(&line)?,
                    None => return Ok(Piece::NeedsMore),
                },
                State::Done => {
                    return if input.is_empty() { Ok(Piece::Done) } else { Err(BodyError::TooLong) };
                }
            }
        }
    }

    /// Says that nothing more comes. Some clients leave out the empty line at the very end.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::Trailers if self.line.is_empty() => self.end_trailers(),
            _ => Err(BodyError::Incomplete),
        }
    }

    /// A trailer, once all has come.
    pub fn trailer_value(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A line without its end, once all of it has come.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Vec<u8>>, BodyError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let length = end.unwrap_or(input.len());
        if self.line.len() + length > LINE_LIMIT {
            return Err(BodyError::Framing("a line between chunks is too long"));
        }
        self.line.extend_from_slice(&input[..length]);
        input.advance(length + usize::from(end.is_some()));
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn end_chunk(&mut self, signature: Option<[u8; 32]>) -> Result<(), BodyError> {
        match (&mut self.signer, signature) {
            (Some(signer), Some(signature)) => signer.verify_chunk(&signature),
            _ => Ok(()),
        }
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), BodyError> {
        if self.trailers.len() == TRAILERS_LIMIT {
            return Err(BodyError::Framing("there are too many trailers"));
        }
        let line = std::str::from_utf8(line).map_err(|_| BodyError::Framing("a trailer is no text"))?;
        let (name, value) = line.split_once(':').ok_or(BodyError::Framing("a trailer has no colon"))?;
        self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(())
    }

    fn end_trailers(&mut self) -> Result<(), BodyError> {
        self.state = State::Done;
        let Some(signer) = &self.signer else { return Ok(()) };
        let signature = self.trailers.iter().position(|(name, _)| name == TRAILER_SIGNATURE);
        let signature = signature.map(|at| self.trailers.remove(at).1);
        match signature {
            Some(signature) => signer.verify_trailers(&self.trailers, &signature),
            None if self.trailers.is_empty() => Ok(()),
            None => Err(BodyError::Framing("the trailers have no signature")),
        }
    }
}

impl Signer {
    fn verify_chunk(&mut self, signature: &[u8; 32]) -> Result<(), BodyError> {
        let digest = std::mem::replace(&mut self.digest, digest::Context::new(&digest::SHA256)).finish();
        let empty = digest::digest(&digest::SHA256, b"");
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.key.date(),
            self.key.scope(),
            self.previous,
            hex(empty.as_ref()),
            hex(digest.as_ref()),
        );
        hmac::verify(self.key.key(), text.as_bytes(), signature).map_err(|_| BodyError::ChunkSignature)?;
        self.previous = hex(signature);
        Ok(())
    }

    fn verify_trailers(&self, trailers: &[(String, String)], signature: &str) -> Result<(), BodyError> {
        let signature = unhex(signature.as_bytes()).ok_or(BodyError::ChunkSignature)?;
        let canonical: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.key.date(),
            self.key.scope(),
            self.previous,
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()),
        );
        hmac::verify(self.key.key(), text.as_bytes(), &signature).map_err(|_| BodyError::ChunkSignature)
    }
}

/// The head of a chunk: its size in hexadecimal digits, and perhaps `;chunk-signature=` with 64 more.
fn head(line: &[u8]) -> Result<(u64, Option<[u8; 32]>), BodyError> {
    let malformed = || BodyError::Framing("a chunk's head is no size");
    let line = std::str::from_utf8(line).map_err(|_| malformed())?;
    let (size, extension) = line.split_once(';').unwrap_or((line, ""));
    let size = size.trim();
    if size.is_empty() || size.len() > 16 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let size = u64::from_str_radix(size, 16).map_err(|_| malformed())?;
    let signature = match extension.trim().strip_prefix("chunk-signature=") {
        Some(signature) => Some(unhex(signature.as_bytes()).ok_or(BodyError::ChunkSignature)?),
        None => None,
    };
    Ok((size, signature))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// 32 bytes from 64 hexadecimal digits.
pub(super) fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BodyError, Chunked, Piece};
    use crate::body::framing::SigningKey;

    /// What chunks carry, however they are cut on their way.
    fn unframe(mut chunks: Chunked, body: &[u8], cut: usize) -> Result<(Vec<u8>, Chunked), BodyError> {
        let mut data = Vec::new();
        for piece in body.chunks(cut) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Piece::Data(bytes) = chunks.next(&mut input)? {
                data.extend_from_slice(&bytes);
            }
        }
        chunks.finish()?;
        Ok((data, chunks))
    }

    #[test]
    fn chunks_with_a_trailer() {
        let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
        for cut in 1..=body.len() {
            let (data, chunks) = unframe(Chunked::unsigned(), body, cut).unwrap();
            assert_eq!(data, b"hello world");
            assert_eq!(chunks.trailer_value("x-amz-checksum-crc32"), Some("DUoRhQ=="));
        }
    }

    #[test]
    fn chunks_that_are_none() {
        for bad in [
            &b"5\r\nhel"[..],
            b"5\r\nhello",
            b"5\r\nhello\r\n",
            b"4\r\nhello\r\n0\r\n\r\n",
            b"x\r\n",
            b"\r\n",
            b"-1\r\n\r\n",
            b"11111111111111111\r\n",
            b"0\r\nx-amz-checksum-crc32\r\n\r\n",
            b"0\r\n\r\nmore",
            &[b'1'; 2000],
        ] {
            for cut in [1, 3, bad.len()] {
                assert!(unframe(Chunked::unsigned(), bad, cut).is_err(), "{:?}", String::from_utf8_lossy(bad));
            }
        }
    }

    /// The example of the Amazon S3 API reference: 65 KiB + 1 KiB of `a`.
    #[test]
    fn signatures_of_chunks() {
        let key = || {
            let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
            SigningKey::derive(secret, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request").unwrap()
        };
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut body = Vec::new();
        for (size, signature) in [
            (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'a', size));
            body.extend_from_slice(b"\r\n");
        }
        for cut in [1000, body.len()] {
            let (data, _) = unframe(Chunked::signed(key(), seed.to_owned()), &body, cut).unwrap();
            assert_eq!(data.len(), 66_560);
        }
        body[100] = b'b';
        let forged = unframe(Chunked::signed(key(), seed.to_owned()), &body, 1000).map(drop);
        assert!(matches!(forged, Err(BodyError::ChunkSignature)), "{forged:?}");
        let unsigned = unframe(Chunked::signed(key(), seed.to_owned()), b"0\r\n\r\n", 100).map(drop);
        assert!(matches!(unsigned, Err(BodyError::Framing(_))), "{unsigned:?}");
    }
}
