//! A server's data as one stream, of one moment, while it is used: what a replica is sent first.
//!
//! The server forks once and writes to us as fast as we take it, so that nothing lies on its disk, and no more is held in its memory
//! than what is written meanwhile changes.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mainstay_dataplane::Source;
use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, admin_secret};
use mainstay_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::rdb::Census;
use crate::admin::Admin;
use crate::user::ADMIN;

/// The longest between two signs of life: a server whose copy waits sends one every ten seconds.
const SILENCE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a copy may have to wait for another fork of the same server, whose append-only file is written anew: the largest that
/// is offered, to a slow disk.
const BEGIN_PATIENCE: Duration = Duration::from_secs(900);
/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait to be counted: the count is faster than what keeps them.
const UNCOUNTED_PIECES: usize = 4;
/// The longest line that a server answers with before the snapshot.
const LONGEST_LINE: usize = 1_024;
/// Bytes of the mark that a snapshot of unknown length ends with.
const MARK: usize = 40;

/// A snapshot on its way.
pub(super) struct Snapshot {
    /// All that was acknowledged before is in it.
    pub of: Timestamp,
    pub bytes: Source,
    /// Of what was handed on; ready once all was.
    pub census: JoinHandle<io::Result<Option<Census>>>,
}

/// Asks a server for a snapshot.
pub(super) async fn take(directory: &ClusterDirectory) -> Result<Snapshot, EngineError> {
    let failed = |error| EngineError::transient_from("the server does not send its data", error);
    let mut server = Server { stream: connect(directory).await?, read: BytesMut::new() };
    server.ask(&["REPLCONF", "capa", "eof"]).await.map_err(failed)?;
    let of = Timestamp::now();
    server.send(&["SYNC"]).await.map_err(failed)?;
    let end = timeout(BEGIN_PATIENCE, server.end()).await.map_err(|_| {
        EngineError::transient(format!("the server was busy with another copy of its data for {BEGIN_PATIENCE:?}"))
    })?;
    let end = end.map_err(failed)?;
    let (counted, uncounted) = mpsc::channel(UNCOUNTED_PIECES);
    let census = tokio::task::spawn_blocking(move || Census::take(Pieces { uncounted, piece: Bytes::new() }));
    let sending = Sending { server, end: Some(end), counted };
    let bytes = futures::stream::try_unfold(sending, |mut sending| async move {
        Ok(sending.next().await?.map(|piece| (piece, sending)))
    });
    Ok(Snapshot { of, bytes: Box::pin(bytes), census })
}

async fn connect(directory: &ClusterDirectory) -> Result<UnixStream, EngineError> {
    let failed = |error| EngineError::transient_from("the server could not be asked for its data", error);
    let secret = admin_secret(directory)?;
    let stream = UnixStream::connect(Admin::socket(directory)).await.map_err(failed)?;
    let mut server = Server { stream, read: BytesMut::new() };
    server.ask(&["AUTH", ADMIN, secret.expose_secret()]).await.map_err(failed)?;
    Ok(server.stream)
}

struct Server {
    stream: UnixStream,
    read: BytesMut,
}

/// How it shows where a snapshot ends.
enum End {
    After(u64),
    /// With these bytes, drawn at random for it.
    With(Bytes),
}

impl Server {
    async fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut command = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| command.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        let command = SecretString::from(command);
        timeout(SILENCE_PATIENCE, self.stream.write_all(command.expose_secret().as_bytes())).await?
    }

    async fn ask(&mut self, words: &[&str]) -> io::Result<()> {
        self.send(words).await?;
        let answer = self.line().await?;
        if answer.starts_with('+') { Ok(()) } else { Err(io::Error::other(answer)) }
    }

    /// A line that is not empty: empty ones are signs of life.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            while let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line = self.read.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                if !line.is_empty() {
                    return Ok(line);
                }
            }
            if self.read.len() > LONGEST_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is no line"));
            }
            self.fill().await?;
        }
    }

    async fn end(&mut self) -> io::Result<End> {
        let line = self.line().await?;
        let end = match line.strip_prefix("$EOF:") {
            Some(mark) if mark.len() == MARK => Some(End::With(Bytes::copy_from_slice(mark.as_bytes()))),
            Some(_) => None,
            None => line.strip_prefix('$').and_then(|length| length.parse().ok()).map(End::After),
        };
        end.ok_or_else(|| io::Error::other(line))
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.read.reserve(PIECE);
        match timeout(SILENCE_PATIENCE, self.stream.read_buf(&mut self.read)).await?? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection")),
            _ => Ok(()),
        }
    }
}

/// The bytes of a snapshot, up to where it ends.
struct Sending {
    server: Server,
    /// None once it has ended.
    end: Option<End>,
    counted: mpsc::Sender<Bytes>,
}

impl Sending {
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            if let Some(piece) = self.piece() {
                // Where nobody counts any more there will be no count.
                let _ = self.counted.send(piece.clone()).await;
                return Ok(Some(piece));
            }
            if self.end.is_none() {
                return Ok(None);
            }
            let filled = self.server.fill().await;
            filled
                .map_err(|error| EngineError::transient_from("the server broke off while it sent its data", error))?;
        }
    }

    /// What was read of it and not handed on yet.
    fn piece(&mut self) -> Option<Bytes> {
        let read = &mut self.server.read;
        let piece = match self.end.as_mut()? {
            End::After(left) => {
                let length = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= length as u64;
                let is_last = *left == 0;
                let piece = read.split_to(length).freeze();
                if is_last {
                    self.end = None;
                }
                piece
            }
            End::With(mark) if read.ends_with(mark) => {
                let piece = read.split_to(read.len() - MARK).freeze();
                self.end = None;
                piece
            }
            // What may be the beginning of the mark is kept back.
            End::With(_) => read.split_to(read.len().saturating_sub(MARK)).freeze(),
        };
        (!piece.is_empty()).then_some(piece)
    }
}

/// Pieces as a thread reads them.
struct Pieces {
    uncounted: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl io::Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.uncounted.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(into.len());
        self.piece.split_to(length).copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
