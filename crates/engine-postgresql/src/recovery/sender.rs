//! A copy of a whole cluster as one of the server's WAL senders streams it (PostgreSQL, 55.4: `BASE_BACKUP`).
//!
//! ```text
//! start and timeline ─> archive of the data directory ─> manifest ─> end
//! ```
//!
//! `pg_basebackup` would read the same messages, take the archive apart and write it into a pipe: half as much work again as
//! the server has with it.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::TryStreamExt;
use mainstay_dataplane::{Source, SourceError};
use mainstay_engine::EngineError;
use postgres_protocol::message::frontend;
use rustix::buffer::spare_capacity;

use super::wal::Lsn;
use crate::names::ADMIN_ROLE;

/// How much is read before it is handed on: enough that waking who takes it costs nothing, and little enough to stay in a cache.
const READ_BYTES: usize = 1 << 20;
/// The longest message that is taken: more than any of a server's blocks has, less than would be felt.
const LONGEST_MESSAGE: usize = 16 << 20;
/// What the server writes at once, with its head. Who reads each of them by itself is woken for each.
const BLOCK_BYTES: usize = 33 << 10;
/// How long more is left to come where there was no more than that: the server fills the socket, of some 200 KiB, in about this time.
const LULL: Duration = Duration::from_micros(100);
/// How long the server may say nothing: more than the checkpoint takes that a copy begins with, and while it copies it is never silent.
/// Without a bound a sender that hangs would keep everything else from its cluster, a restore too.
const LONGEST_SILENCE: Duration = Duration::from_secs(3_600);
/// What a message begins with: what it is, and its length without that.
const HEAD_BYTES: usize = 5;
/// What a message of data is marked with.
const DATA: u8 = b'd';
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
    line: Line,
}

/// What a session is worked on by, which ends with this: no thread goes on waiting for the server.
struct Line {
    socket: Arc<UnixStream>,
    session: Arc<Mutex<Session>>,
}

/// It waits for the server on threads that may wait, and reads much at a time: to be woken for each message of the server's would cost
/// as much as to read it.
struct Session {
    socket: Arc<UnixStream>,
    /// How long it may say nothing.
    patience: Duration,
    /// What was read and not looked at yet.
    unread: Bytes,
    /// Where that lies, to be used again.
    memory: Bytes,
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
        let line = Line::open(socket, patience).await.map_err(unasked)?;
        let (start, timeline) = line.work(Session::begin).await?;
        Ok(Self { timeline, start, line })
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
        self.line.work(Session::finish).await
    }

    fn source(&self, part: Reading) -> Source {
        let session = self.line.session.clone();
        let data = futures::stream::try_unfold(session, move |session| async move {
            let data = work(&session, move |session| session.data(part)).await?;
            Ok::<_, SourceError>((!data.is_empty()).then_some((data, session)))
        });
        Box::pin(data.map_ok(|data| futures::stream::iter(data.into_iter().map(Ok))).try_flatten())
    }
}

// === impl Line ===

impl Line {
    async fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        let socket = tokio::net::UnixStream::connect(path).await?.into_std()?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(patience))?;
        let socket = Arc::new(socket);
        let session = Session {
            socket: socket.clone(),
            patience,
            unread: Bytes::new(),
            memory: Bytes::new(),
            warnings: Vec::new(),
            archives: 0,
            reading: Reading::Archive,
        };
        Ok(Self { socket, session: Arc::new(Mutex::new(session)) })
    }

    async fn work<T: Send + 'static>(
        &self,
        with: impl FnOnce(&mut Session) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        work(&self.session, with).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Where that fails the server has ended it.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// On a thread that may wait.
async fn work<T: Send + 'static>(
    session: &Arc<Mutex<Session>>,
    with: impl FnOnce(&mut Session) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let session = session.clone();
    let work = move || with(&mut session.lock().unwrap_or_else(PoisonError::into_inner));
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(EngineError::transient_from("the copy of the cluster was broken off", error)))
}

// === impl Session ===

impl Session {
    fn begin(&mut self) -> Result<(Lsn, u32), EngineError> {
        let mut message = BytesMut::new();
        let who = [("user", ADMIN_ROLE), ("replication", "true"), ("application_name", "mainstay")];
        frontend::startup_message(who, &mut message).map_err(unasked)?;
        self.say(&message)?;
        loop {
            match self.next()? {
                Message::Ready => break,
                Message::Authentication(false) => {
                    return Err(EngineError::transient("the server asks for a password where it should know us"));
                }
                _ => {}
            }
        }
        message.clear();
        frontend::query(COMMAND, &mut message).map_err(unasked)?;
        self.say(&message)?;
        let mut first = None;
        loop {
            match self.next()? {
                Message::Row(row) if first.is_none() => first = Some(position(&row).ok_or_else(unknown)?),
                Message::DataBegins => return first.ok_or_else(unknown),
                Message::Ready => return Err(unknown()),
                _ => {}
            }
        }
    }

    fn say(&self, message: &[u8]) -> Result<(), EngineError> {
        io::Write::write_all(&mut &*self.socket, message).map_err(unasked)
    }

    /// What comes next of a part; nothing at its end.
    fn data(&mut self, part: Reading) -> Result<Vec<Bytes>, EngineError> {
        let mut found = Vec::new();
        // What is there without waiting, once there is something.
        while self.reading == part && (found.is_empty() || self.has_message()) {
            let mut data = match self.next()? {
                Message::Data(data) if !data.is_empty() => data,
                Message::DataEnds => {
                    self.reading = Reading::End;
                    continue;
                }
                Message::Ready => return Err(unknown()),
                _ => continue,
            };
            match data.get_u8() {
                b'd' => found.push(data),
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
        Ok(found)
    }

    fn finish(&mut self) -> Result<Lsn, EngineError> {
        let mut end = None;
        loop {
            match self.next()? {
                Message::Row(row) => end = end.or(position(&row)),
                Message::Ready => break,
                _ => {}
            }
        }
        end.map(|(end, _)| end).ok_or_else(unknown)
    }

    fn has_message(&self) -> bool {
        length(&self.unread).is_some_and(|length| length.is_some_and(|length| length <= self.unread.len()))
    }

    fn next(&mut self) -> Result<Message, EngineError> {
        loop {
            match parse(&mut self.unread).ok_or_else(unknown)? {
                Some(Message::Refusal(refusal)) => return Err(refusal.of_copy(&self.warnings)),
                Some(Message::Warning(text)) if self.warnings.len() < MAX_WARNINGS => self.warnings.push(text),
                Some(message) => return Ok(message),
                None => self.read()?,
            }
        }
    }

    /// Reads on, at least a little, and much where only data comes.
    fn read(&mut self) -> Result<(), EngineError> {
        let begun = std::mem::take(&mut self.unread).to_vec();
        let mut memory = std::mem::take(&mut self.memory).try_into_mut().map(Vec::from).unwrap_or_default();
        memory.clear();
        memory.reserve(begun.len() + READ_BYTES);
        memory.extend_from_slice(&begun);
        let mut message = 0;
        loop {
            let read = match rustix::io::read(&*self.socket, spare_capacity(&mut memory)) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {
                    let patience = self.patience;
                    return Err(EngineError::transient(format!(
                        "the server said nothing of its copy for {patience:?}"
                    )));
                }
                read => read.map_err(io::Error::from),
            };
            let lost = |error| EngineError::transient_from("the server was lost while it was copied", error);
            let read =
                read.and_then(|read| if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) });
            let read = read.map_err(lost)?;
            // Behind what is not data nothing may come for long.
            while memory.get(message) == Some(&DATA)
                && let Some(Some(length)) = length(&memory[message..])
                && message + length <= memory.len()
            {
                message += length;
            }
            let only_data = memory.get(message).is_none_or(|tag| *tag == DATA);
            if !only_data || memory.len() >= READ_BYTES {
                break;
            }
            if read <= BLOCK_BYTES {
                std::thread::sleep(LULL);
            }
        }
        self.memory = memory.into();
        self.unread = self.memory.clone();
        Ok(())
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

/// How long the next message is, if so much of it has come; nothing where that is no message.
fn length(bytes: &[u8]) -> Option<Option<usize>> {
    let Some(length) = bytes.get(1..HEAD_BYTES).and_then(|length| length.first_chunk::<4>()) else { return Some(None) };
    let length = u32::from_be_bytes(*length) as usize;
    (4..=LONGEST_MESSAGE).contains(&length).then_some(Some(1 + length))
}

/// Takes the next message off what was read, if it is whole; nothing where that is no message.
fn parse(unread: &mut Bytes) -> Option<Option<Message>> {
    let Some(length) = length(unread)?.filter(|length| *length <= unread.len()) else { return Some(None) };
    let mut body = unread.split_to(length);
    let tag = body[0];
    body.advance(HEAD_BYTES);
    Some(Some(match tag {
        b'R' => Message::Authentication(*body == [0; 4]),
        b'D' => Message::Row(body),
        DATA => Message::Data(body),
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

fn unasked(error: io::Error) -> EngineError {
    EngineError::transient_from("the server can not be asked for a copy", error)
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

    use bytes::{BufMut, Bytes};

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
        let (mut unread, mut found) = (Bytes::new(), Vec::new());
        for byte in sent.concat() {
            unread = [&unread[..], &[byte]].concat().into();
            found.extend(parse(&mut unread).unwrap());
        }
        assert_eq!(found, expected);
        assert!(unread.is_empty());
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
            assert!(parse(&mut Bytes::from(bytes)).is_none(), "{length}");
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
