//! Messages of a queue as the management API tells and takes them, and as a backup keeps them: a line of JSON each.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, Backup, Kept};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Api, ApiError, failed};
use crate::percent::encode;

/// The part that they are.
pub(super) const MESSAGES: &str = "messages";
/// The longest queue that is read: what is read at once is in the node's memory, and nobody else is given it for that moment.
const MOST_MESSAGES: u64 = 10_000;
/// The most that a queue holds which is read, in bytes, by what the first of its messages have.
const MOST_BYTES: u64 = 16 << 20;
/// The messages that tell how large those of a queue are.
const SAMPLE: u64 = 100;
/// The longest line: a message of the largest size that the node takes is less, and one of a queue that is read far less.
const LONGEST_LINE: usize = 64 << 20;

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    pub queue: String,
    pub properties: Value,
    /// In base64.
    pub payload: String,
}

/// What came of reading a queue.
#[derive(Debug)]
pub(super) enum Contents {
    All(Vec<Message>),
    /// It holds more than is read.
    TooMuch,
}

#[derive(Debug, Deserialize)]
struct Got {
    payload: String,
    payload_bytes: u64,
    /// Those that are behind it.
    message_count: u64,
    properties: Value,
}

/// Reads a queue and leaves its messages where they are, in their order. They are marked as delivered before.
pub(super) async fn read(api: &Api, host: &str, queue: &str) -> Result<Contents, ApiError> {
    let sample = get(api, host, queue, SAMPLE).await?;
    let Some(last) = sample.last() else { return Ok(Contents::All(Vec::new())) };
    let (taken, behind) = (sample.len() as u64, last.message_count);
    let bytes: u64 = sample.iter().map(|message| message.payload_bytes).sum();
    if taken + behind > MOST_MESSAGES || bytes / taken * (taken + behind) > MOST_BYTES {
        return Ok(Contents::TooMuch);
    }
    let all = if behind == 0 { sample } else { get(api, host, queue, taken + behind).await? };
    let message = |got: Got| Message { queue: queue.to_owned(), properties: got.properties, payload: got.payload };
    Ok(Contents::All(all.into_iter().map(message).collect()))
}

async fn get(api: &Api, host: &str, queue: &str, count: u64) -> Result<Vec<Got>, ApiError> {
    // Automatic encoding tells text from other bytes by looking, and so not always.
    let asked = json!({ "count": count, "ackmode": "ack_requeue_true", "encoding": "base64" });
    api.ask(&format!("queues/{host}/{}/get", encode(queue)), &asked).await
}

/// Publishes a message to its queue, and hears that it is there.
pub(super) async fn publish(api: &Api, host: &str, message: &Message) -> Result<(), EngineError> {
    #[derive(Deserialize)]
    struct Published {
        routed: bool,
    }
    let Message { queue, properties, payload } = message;
    let asked = json!({
        "properties": properties, "routing_key": queue, "payload": payload, "payload_encoding": "base64",
    });
    let published: Published = api
        .ask(&format!("exchanges/{host}/amq.default/publish"), &asked)
        .await
        .map_err(failed(format!("a message could not be published to queue {queue}")))?;
    match published.routed {
        true => Ok(()),
        false => Err(EngineError::transient(format!("queue {queue} did not take a message that it held before"))),
    }
}

/// Lines for some messages.
pub(super) fn lines(messages: &[Message]) -> Result<Bytes, EngineError> {
    let mut lines = Vec::new();
    for message in messages {
        serde_json::to_writer(&mut lines, message)
            .map_err(|error| EngineError::transient_from("a message could not be written down", error))?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}

/// The messages of a backup, one after the other.
pub(super) struct Reading {
    kept: Kept,
    read: BytesMut,
}

impl Reading {
    pub async fn of(backup: &Backup, archive: &Archive) -> Result<Self, EngineError> {
        Ok(Self { kept: archive.read(backup.part(MESSAGES)?).await?, read: BytesMut::new() })
    }

    pub async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        let damaged = |reason: String| {
            EngineError::permanent(
                format!("part {MESSAGES} of the backup is not understood: {reason}"),
                "restore another backup",
            )
        };
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return match line.first() {
                    // The first line says what follows.
                    Some(b'#') => continue,
                    _ => serde_json::from_slice(&line).map(Some).map_err(|error| damaged(error.to_string())),
                };
            }
            if self.read.len() > LONGEST_LINE {
                return Err(damaged("a line has no end".to_owned()));
            }
            match self.kept.try_next().await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None if self.read.is_empty() => return Ok(None),
                None => return Err(damaged("it ends early".to_owned())),
            }
        }
    }
}
