//! A copy of a whole cluster as one of the server's WAL senders streams it (PostgreSQL, 55.4: `BASE_BACKUP`).
//!
//! ```text
//! start and timeline ─> archive of the data directory ─> manifest ─> end
//! ```
//!
//! `pg_basebackup` would read the same messages, take the archive apart and write it into a pipe: half as much work again as
//! the server has with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mainstay_dataplane::Source;
use mainstay_engine::EngineError;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::wal::Lsn;
use crate::names::ADMIN_ROLE;

/// How much is read at once: some of the server's messages of 32 KiB, and no more than stays in a cache.
const READ_BYTES: usize = 256 << 10;
/// The longest message that is taken: more than any of a server's blocks has, less than would be felt.
const LONGEST_MESSAGE: usize = 16 << 20;
/// How long the server may say nothing: more than the checkpoint takes that a copy begins with, and while it copies it is never silent.
/// Without a bound a sender that hangs would keep everything else from its cluster, a restore too.
const LONGEST_SILENCE: Duration = Duration::from_secs(3_600);
/// The SQLSTATE of pages that do not fit their checksums (PostgreSQL, appendix A).
const DATA_CORRUPTED: &str = "XX001";
/// Warnings that an error repeats: which pages do not fit their checksums, for example.
const MAX_WARNINGS: usize = 3;
/// CRC-32C is quicker than SHA-256, and enough: what keeps the archive has digests of its own.
const COMMAND: &str =
    "BASE_BACKUP (LABEL 'mainstay', CHECKPOINT 'fast', WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')";

/// A cluster that is being copied. Without this the server ends the copy.
pub(super) struct Copy {
    /// The log that a restore begins with.
    pub(super) timeline: u32,
    pub(super) start: Lsn,
    session: Arc<Mutex<Session>>,
}

struct Session {
    socket: UnixStream,
    /// How long it may say nothing.
    patience: Duration,
    /// What was read and not looked at yet.
    buffer: BytesMut,
    warnings: Vec<String>,
    archives: u32,
    reading: Reading,
}

/// What the data is of that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Archive,
    Manifest,
    End,
}

/// A message of the server's, as far as it matters here (PostgreSQL, 55.7).
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// Whether it lets us in as we are.
    Authentication(bool),
    Row(Bytes),
    Data(Bytes),
    DataBegins,
    DataEnds,
    Ready,
    Refusal(Refusal),
    Warning(String),
    Other,
}

/// Why the server does not go on.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// Its SQLSTATE.
    code: String,
    text: String,
}

// === impl Copy ===

impl Copy {
    /// Asks for a copy; it begins with a checkpoint.
    pub(super) async fn begin(socket: &Path) -> Result<Self, EngineError> {
        Self::begin_with(socket, LONGEST_SILENCE).await
    }

    async fn begin_with(socket: &Path, patience: Duration) -> Result<Self, EngineError> {
        let lost = |error| EngineError::transient_from("the server can not be asked for a copy", error);
        let socket = UnixStream::connect(socket).await.map_err(lost)?;
        let buffer = BytesMut::with_capacity(READ_BYTES);
        let (warnings, archives, reading) = (Vec::new(), 0, Reading::Archive);
        let mut session = Session { socket, patience, buffer, warnings, archives, reading };
        let mut message = BytesMut::new();
        let who = [("user", ADMIN_ROLE), ("replication", "true"), ("application_name", "mainstay")];
        frontend::startup_message(who, &mut message).map_err(lost)?;
        session.socket.write_all(&message).await.map_err(lost)?;
        loop {
            match session.next().await? {
                Message::Ready => break,
                Message::Authentication(false) => {
                    return Err(EngineError::transient("the server asks for a password where it should know us"));
                }
                _ => {}
            }
        }
        message.clear();
        frontend::query(COMMAND, &mut message).map_err(lost)?;
        session.socket.write_all(&message).await.map_err(lost)?;
        let mut first = None;
        loop {
            match session.next().await? {
                Message::Row(row) if first.is_none() => first = Some(position(&row).ok_or_else(unknown)?),
                Message::DataBegins => break,
                Message::Ready => return Err(unknown()),
                _ => {}
            }
        }
        let (start, timeline) = first.ok_or_else(unknown)?;
        Ok(Self { timeline, start, session: Arc::new(Mutex::new(session)) })
    }

    /// The data directory as a tar archive; to be read first.
    pub(super) fn archive(&self) -> Source {
        self.source(Reading::Archive)
    }

    /// The `backup_manifest` that belongs to it; to be read when the archive has been.
    pub(super) fn manifest(&self) -> Source {
        self.source(Reading::Manifest)
    }

    /// Until where the log is needed. To be asked when both have been read.
    pub(super) async fn finish(self) -> Result<Lsn, EngineError> {
        let mut session = self.session.lock().await;
        let mut end = None;
        loop {
            match session.next().await? {
                Message::Row(row) => end = end.or(position(&row)),
                Message::Ready => break,
                _ => {}
            }
        }
        end.map(|(end, _)| end).ok_or_else(unknown)
    }

    fn source(&self, part: Reading) -> Source {
        let session = self.session.clone();
        Box::pin(futures::stream::try_unfold(session, move |session| async move {
            let data = session.lock().await.data(part).await?;
            Ok(data.map(|data| (data, session)))
        }))
    }
}

// === impl Session ===

impl Session {
    /// What comes next of a part; none at its end.
    async fn data(&mut self, part: Reading) -> Result<Option<Bytes>, EngineError> {
        while self.reading == part {
            let mut data = match self.next().await? {
                Message::Data(data) if !data.is_empty() => data,
                Message::DataEnds => {
                    self.reading = Reading::End;
                    continue;
                }
                Message::Ready => return Err(unknown()),
                _ => continue,
            };
            match data.get_u8() {
                b'd' => return Ok(Some(data)),
                b'm' => self.reading = Reading::Manifest,
                b'n' => self.archives += 1,
                // How far it is.
                b'p' => {}
                _ => return Err(unknown()),
            }
            if self.archives > 1 {
                return Err(EngineError::permanent(
                    "a tablespace outside of the data directory was made meanwhile",
                    "move what is in it to pg_default, and drop it",
                ));
            }
        }
        Ok(None)
    }

    async fn next(&mut self) -> Result<Message, EngineError> {
        let lost = |error| EngineError::transient_from("the server was lost while it was copied", error);
        loop {
            if let Some(message) = parse(&mut self.buffer).ok_or_else(unknown)? {
                match message {
                    Message::Refusal(refusal) => return Err(refusal.of_copy(&self.warnings)),
                    Message::Warning(text) if self.warnings.len() < MAX_WARNINGS => self.warnings.push(text),
                    message => return Ok(message),
                }
                continue;
            }
            self.buffer.reserve(READ_BYTES);
            let patience = self.patience;
            let read = tokio::time::timeout(patience, self.socket.read_buf(&mut self.buffer)).await;
            let silent = |_| EngineError::transient(format!("the server said nothing of its copy for {patience:?}"));
            let read = read.map_err(silent)?;
            if read.map_err(lost)? == 0 {
                return Err(lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

// === impl Refusal ===

impl Refusal {
    fn of(fields: &[u8]) -> Self {
        Self { code: field(fields, b'C'), text: field(fields, b'M') }
    }

    /// What it means for a copy, of which the server warned before.
    fn of_copy(&self, warnings: &[String]) -> EngineError {
        let told: Vec<&str> = warnings.iter().chain([&self.text]).map(String::as_str).collect();
        let told = told.join(" | ");
        match self.code.as_str() {
            // The server reads a page that does not fit its checksum twice: it is no write that was under way.
            DATA_CORRUPTED => EngineError::permanent(
                format!("the cluster's data on disk is not what the server wrote there: {told}"),
                "see to the disk, and bring the instances on the cluster back from the backups that there are: mainstay restore NAME",
            ),
            _ => EngineError::transient(format!("the server did not copy the cluster: {told}")),
        }
    }
}

/// Takes the next message off what was read, if it is whole; nothing where that is no message.
fn parse(buffer: &mut BytesMut) -> Option<Option<Message>> {
    let Some((&tag, rest)) = buffer.split_first() else { return Some(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Some(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=LONGEST_MESSAGE).contains(&length) {
        return None;
    }
    if rest.len() < length {
        return Some(None);
    }
    let mut body = buffer.split_to(1 + length).freeze();
    body.advance(5);
    Some(Some(match tag {
        b'R' => Message::Authentication(*body == [0; 4]),
        b'D' => Message::Row(body),
        b'd' => Message::Data(body),
        b'H' => Message::DataBegins,
        b'c' => Message::DataEnds,
        b'Z' => Message::Ready,
        b'E' => Message::Refusal(Refusal::of(&body)),
        b'N' => Message::Warning(field(&body, b'M')),
        _ => Message::Other,
    }))
}

/// A field of an error or a notice: each is a letter and text that a zero ends.
fn field(fields: &[u8], letter: u8) -> String {
    let text = fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[letter]));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

/// A row of a position and a timeline, both as text: each column is a length and so many bytes.
fn position(row: &[u8]) -> Option<(Lsn, u32)> {
    fn column<'a>(row: &mut &'a [u8]) -> Option<&'a str> {
        let (length, rest) = row.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *row = rest;
        std::str::from_utf8(text).ok()
    }
    let (_, mut columns) = row.split_first_chunk::<2>()?;
    Some((column(&mut columns)?.parse().ok()?, column(&mut columns)?.parse().ok()?))
}

fn unknown() -> EngineError {
    EngineError::permanent(
        "the server's copy is not in the form that PostgreSQL documents",
        "report this with the version of PostgreSQL",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::{BufMut, Bytes, BytesMut};

    use mainstay_engine::EngineError;

    use super::{Copy, LONGEST_MESSAGE, Message, Refusal, parse, position};
    use crate::recovery::wal::Lsn;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![tag];
        message.put_u32(body.len() as u32 + 4);
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn messages_come_byte_by_byte() {
        let error = b"SERROR\0VERROR\0CXX001\0Mchecksum verification failure\0\0";
        let sent = [
            message(b'R', &[0; 4]),
            message(b'R', &[0, 0, 0, 10, 0]),
            message(b'K', &[7; 8]),
            message(b'd', b"dsome"),
            message(b'c', b""),
            message(b'E', error),
        ];
        let expected = [
            Message::Authentication(true),
            Message::Authentication(false),
            Message::Other,
            Message::Data(Bytes::from_static(b"dsome")),
            Message::DataEnds,
            Message::Refusal(Refusal { code: "XX001".to_owned(), text: "checksum verification failure".to_owned() }),
        ];
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for byte in sent.concat() {
            buffer.put_u8(byte);
            found.extend(parse(&mut buffer).unwrap());
        }
        assert_eq!(found, expected);
        assert!(buffer.is_empty());
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_is_not_waited_for_for_ever() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("socket");
        let _listening = tokio::net::UnixListener::bind(&socket).unwrap();
        let error = Copy::begin_with(&socket, Duration::from_millis(1)).await.err().unwrap().to_string();
        assert!(error.contains("said nothing"), "{error}");
    }

    #[test]
    fn data_that_is_damaged_is_no_fault_that_passes() {
        let warnings = ["checksum verification failed in file \"base/5/1259\", block 7".to_owned()];
        let refused =
            |code: &str, text: &str| Refusal::of(format!("SERROR\0C{code}\0M{text}\0\0").as_bytes()).of_copy(&warnings);
        let damaged = refused("XX001", "checksum verification failure during base backup");
        assert!(matches!(damaged, EngineError::Permanent { .. }), "{damaged:?}");
        let told = damaged.to_string();
        assert!(told.contains("base/5/1259") && told.contains("mainstay restore"), "{told}");
        assert!(matches!(refused("53300", "too many connections"), EngineError::Transient { .. }));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for length in [0, 3, LONGEST_MESSAGE as u32 + 1] {
            let mut bytes = vec![b'd'];
            bytes.put_u32(length);
            assert!(parse(&mut BytesMut::from(&bytes[..])).is_none(), "{length}");
        }
    }

    #[test]
    fn positions() {
        let row = [&[0, 2, 0, 0, 0, 9][..], b"0/2000028", &[0, 0, 0, 1], b"3"].concat();
        assert_eq!(position(&row), Some((Lsn(0x200_0028), 3)));
        assert_eq!(position(&row[..12]), None);
        // A column that is null.
        assert_eq!(position(&[0, 1, 255, 255, 255, 255]), None);
    }
}
