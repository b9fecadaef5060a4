//! JetStream's requests for copies of streams, as its server speaks them: `STREAM.SNAPSHOT` sends a stream with its configuration, its
//! consumers and where they are, and `STREAM.RESTORE` takes that again.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use mainstay_dataplane::{Source, SourceError};
use mainstay_engine::EngineError;
use mainstay_engine::recovery::Kept;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

/// The longest that a server may take to read on: it looks through a stream before it sends the first piece of it.
const PIECE_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a piece, both ways. The server keeps 8 MiB on their way.
const PIECE: usize = 128 << 10;
/// JetStream's code for a stream that is not there.
const STREAM_NOT_FOUND: u32 = 10_059;
/// And for one that has no message as asked for.
const NO_MESSAGE: u32 = 10_037;

/// A stream as it is described: what the server says, so that it is told the same again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Described {
    pub config: Value,
    pub state: State,
}

/// What is in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    #[serde(default)]
    pub consumer_count: u64,
    /// Times and whatever else a server says of it.
    #[serde(flatten)]
    pub others: serde_json::Map<String, Value>,
}

/// A message that a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub sequence: u64,
    pub payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    err_code: u32,
    description: String,
}

impl Described {
    pub fn name(&self) -> &str {
        self.config["name"].as_str().unwrap_or_default()
    }

    /// Whether its messages are on disk: the server copies no others.
    pub fn is_kept(&self) -> bool {
        self.config["storage"] == "file"
    }
}

/// All streams of the account, by name.
pub(super) async fn list(client: &Client) -> Result<Vec<Described>, EngineError> {
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        #[serde(default)]
        streams: Option<Vec<Described>>,
    }
    let mut streams = Vec::new();
    loop {
        let page: Page = ask(client, "$JS.API.STREAM.LIST", &json!({ "offset": streams.len() })).await?;
        let found = page.streams.unwrap_or_default();
        let is_last = found.is_empty() || streams.len() + found.len() >= page.total;
        streams.extend(found);
        if is_last {
            streams.sort_by(|one: &Described, other| one.name().cmp(other.name()));
            return Ok(streams);
        }
    }
}

pub(super) async fn look(client: &Client, name: &str) -> Result<Described, EngineError> {
    ask(client, &format!("$JS.API.STREAM.INFO.{name}"), &json!({})).await
}

pub(super) async fn delete(client: &Client, name: &str) -> Result<(), EngineError> {
    match ask::<Value>(client, &format!("$JS.API.STREAM.DELETE.{name}"), &json!({})).await {
        Err(error) if error.to_string().contains(&format!("({STREAM_NOT_FOUND})")) => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// Makes a stream that holds nothing.
pub(super) async fn create(client: &Client, described: &Described) -> Result<(), EngineError> {
    let subject = format!("$JS.API.STREAM.CREATE.{}", described.name());
    ask::<Value>(client, &subject, &described.config).await.map(drop)
}

/// Begins a copy, and answers what is in it, all of one moment.
pub(super) async fn snapshot(client: &Client, name: &str) -> Result<(Described, Source), EngineError> {
    let failed = |reason: String| EngineError::transient(format!("stream {name} could not be copied: {reason}"));
    let inbox = client.new_inbox();
    // First, since the server begins at once.
    let pieces = client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
    let asked = json!({ "deliver_subject": inbox, "no_consumers": false, "chunk_size": PIECE, "jsck": true });
    let described = ask(client, &format!("$JS.API.STREAM.SNAPSHOT.{name}"), &asked).await?;
    let copying = Copying { client: client.clone(), pieces, name: name.to_owned() };
    let source = futures::stream::try_unfold(copying, |mut copying| async move {
        let piece = copying.next().await.map_err(SourceError::from)?;
        Ok(piece.map(|piece| (piece, copying)))
    });
    Ok((described, Box::pin(source)))
}

struct Copying {
    client: Client,
    pieces: Subscriber,
    name: String,
}

impl Copying {
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let failed =
            |reason: String| EngineError::transient(format!("the copy of stream {} broke off: {reason}", self.name));
        let piece = timeout(PIECE_PATIENCE, self.pieces.next()).await;
        let piece = piece.map_err(|_| failed(format!("nothing came within {PIECE_PATIENCE:?}")))?;
        let piece = piece.ok_or_else(|| failed("the server hung up".to_owned()))?;
        if piece.payload.is_empty() {
            // The end, or why it ends before.
            return match piece.status {
                Some(status) if status.as_u16() >= 400 => {
                    Err(failed(piece.description.unwrap_or_else(|| status.to_string())))
                }
                _ => Ok(None),
            };
        }
        if let Some(reply) = piece.reply {
            let acknowledged = self.client.publish(reply, Bytes::new()).await;
            acknowledged.map_err(|error| failed(error.to_string()))?;
        }
        Ok(Some(piece.payload))
    }
}

/// Brings a stream back, of which there must be none of that name.
pub(super) async fn restore(client: &Client, described: &Described, mut kept: Kept) -> Result<(), EngineError> {
    #[derive(Deserialize)]
    struct Begun {
        deliver_subject: String,
    }
    let name = described.name();
    let failed = |reason: String| EngineError::transient(format!("stream {name} could not be brought back: {reason}"));
    let begun: Begun = ask(client, &format!("$JS.API.STREAM.RESTORE.{name}"), described).await?;
    let mut waiting = BytesMut::new();
    let mut is_last = false;
    while !is_last {
        while waiting.len() < PIECE && !is_last {
            match kept.try_next().await? {
                Some(bytes) => waiting.extend_from_slice(&bytes),
                None => is_last = true,
            }
        }
        while waiting.len() >= PIECE || (is_last && !waiting.is_empty()) {
            let piece = waiting.split_to(waiting.len().min(PIECE)).freeze();
            send(client, &begun.deliver_subject, piece).await.map_err(failed)?;
        }
    }
    let answer = send(client, &begun.deliver_subject, Bytes::new()).await.map_err(failed)?;
    understood::<Described>(&format!("the end of stream {name}"), &answer).map(drop)
}

async fn send(client: &Client, subject: &str, piece: Bytes) -> Result<Bytes, String> {
    let sending = client.request(subject.to_owned(), piece);
    let answer =
        timeout(PIECE_PATIENCE, sending).await.map_err(|_| format!("it did not answer within {PIECE_PATIENCE:?}"))?;
    Ok(answer.map_err(|error| error.to_string())?.payload)
}

/// The first message of a stream that has this sequence number or a higher one; none behind the last.
pub(super) async fn next_message(client: &Client, name: &str, sequence: u64) -> Result<Option<Message>, EngineError> {
    message(client, name, &json!({ "seq": sequence, "next_by_subj": ">" })).await
}

/// The newest message of a subject.
pub(super) async fn last_message(client: &Client, name: &str, subject: &str) -> Result<Option<Message>, EngineError> {
    message(client, name, &json!({ "last_by_subj": subject })).await
}

async fn message(client: &Client, name: &str, asked: &Value) -> Result<Option<Message>, EngineError> {
    #[derive(Deserialize)]
    struct Answer {
        message: Found,
    }
    #[derive(Deserialize)]
    struct Found {
        seq: u64,
        #[serde(default)]
        data: String,
    }
    let answer = ask::<Answer>(client, &format!("$JS.API.STREAM.MSG.GET.{name}"), asked).await;
    let found = match answer {
        Err(error) if error.to_string().contains(&format!("({NO_MESSAGE})")) => return Ok(None),
        answer => answer?.message,
    };
    let payload = BASE64_STANDARD.decode(&found.data);
    let payload = payload.map_err(|error| EngineError::transient_from("a message could not be read", error))?;
    Ok(Some(Message { sequence: found.seq, payload }))
}

async fn ask<T: DeserializeOwned>(client: &Client, subject: &str, asked: &impl Serialize) -> Result<T, EngineError> {
    let failed = |reason: String| EngineError::transient(format!("JetStream did not answer {subject}: {reason}"));
    let asked = serde_json::to_vec(asked).map_err(|error| failed(error.to_string()))?;
    let answered = timeout(PIECE_PATIENCE, client.request(subject.to_owned(), asked.into())).await;
    let answer = answered.map_err(|_| failed(format!("within {PIECE_PATIENCE:?}")))?;
    understood(subject, &answer.map_err(|error| failed(error.to_string()))?.payload)
}

/// An answer is what was asked for, or why it is not.
fn understood<T: DeserializeOwned>(subject: &str, answer: &[u8]) -> Result<T, EngineError> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<Fault>,
    }
    let failed =
        |error| EngineError::transient_from(format!("JetStream's answer to {subject} is not understood"), error);
    if let Some(Fault { err_code, description }) = serde_json::from_slice::<Refusal>(answer).map_err(failed)?.error {
        return Err(EngineError::transient(format!("JetStream refused {subject}: {description} ({err_code})")));
    }
    serde_json::from_slice(answer).map_err(failed)
}
