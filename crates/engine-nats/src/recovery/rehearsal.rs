//! A backup brought back in a scratch server, and read there.
//!
//! Owners assert with two kinds of questions:
//!
//! ```text
//! stream NAME messages|bytes|first|last|consumers    a number
//! message NAME SUBJECT                                the newest message of a subject, as text
//! ```

use std::time::Instant;

use async_nats::Client;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Check, Rehearsal};
use mainstay_engine::{EngineError, InstanceSpec};

use super::scratch::Scratch;
use super::streams::{self, Described};
use super::{bring_back, described};
use crate::engine::NatsEngine;

/// Messages of each stream that are read one by one: some seconds' worth. The server has checked all of them against the digests
/// that it keeps with them when it took the stream.
const READ_BACK: u64 = 20_000;

pub(super) async fn rehearse(
    engine: &NatsEngine,
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
) -> Result<Rehearsal, EngineError> {
    let begin = Instant::now();
    archive.progress.stage("reading the backup");
    let wanted = described(backup, archive).await?;
    let scratch = Scratch::make(engine, instance).await?;
    let looked = async {
        archive.progress.stage("bringing the streams back");
        bring_back(&scratch.guest.client, &wanted, backup, archive).await?;
        // They serve as soon as they are there.
        let recovery_time = begin.elapsed();
        archive.progress.stage("looking at the streams");
        let mut checks = Vec::new();
        let found = streams::list(&scratch.guest.client).await?;
        let failure = (found.len() != wanted.len()).then(|| format!("{} were backed up", wanted.len()));
        checks.push(Check { name: "streams".to_owned(), failure, seen: format!("{} streams", found.len()) });
        for wanted in &wanted {
            checks.push(look(&scratch.guest.client, wanted).await?);
        }
        for assertion in assertions {
            checks.push(assert(&scratch.guest.client, assertion).await);
        }
        Ok(Rehearsal { recovery_time, newest: backup.ended_at, checks })
    };
    let looked = looked.await;
    scratch.remove().await;
    looked
}

/// Whether a stream holds what was backed up, and its messages can be read.
async fn look(client: &Client, wanted: &Described) -> Result<Check, EngineError> {
    let name = wanted.name();
    let found = streams::look(client, name).await?.state;
    let told = |state: &streams::State| {
        let streams::State { messages, first_seq, last_seq, consumer_count, .. } = state;
        format!("{messages} messages from {first_seq} to {last_seq}, {consumer_count} consumers")
    };
    let seen = told(&found);
    if !wanted.is_kept() {
        return Ok(Check { name: format!("stream {name}"), failure: None, seen: format!("{seen}, in memory alone") });
    }
    // What has a time to live may be gone by now.
    let ages = wanted.config["max_age"].as_u64().unwrap_or(0) > 0;
    let same = found.last_seq == wanted.state.last_seq
        && found.consumer_count == wanted.state.consumer_count
        && (ages || (found.messages, found.first_seq) == (wanted.state.messages, wanted.state.first_seq));
    let mut failure = (!same).then(|| format!("it had {}", told(&wanted.state)));
    let (mut read, mut next) = (0, found.first_seq);
    while read < READ_BACK
        && let Some(message) = streams::next_message(client, name, next).await?
    {
        read += 1;
        next = message.sequence + 1;
    }
    if read < found.messages.min(READ_BACK) && !ages {
        failure.get_or_insert(format!("{read} messages could be read"));
    }
    Ok(Check { name: format!("stream {name}"), failure, seen: format!("{seen}; {read} messages were read") })
}

async fn assert(client: &Client, assertion: &Assertion) -> Check {
    let name = format!("assertion {}", assertion.query);
    let (failure, seen) = match answer(client, &assertion.query).await {
        Ok(seen) if seen == assertion.expect => (None, seen),
        Ok(seen) => (Some(format!("it is {seen:?}, and {:?} was expected", assertion.expect)), seen),
        Err(reason) => (Some(reason), String::new()),
    };
    Check { name, failure, seen }
}

async fn answer(client: &Client, query: &str) -> Result<String, String> {
    let words: Vec<&str> = query.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["stream", name, figure] => {
            let state = streams::look(client, name).await.map_err(|error| error.to_string())?.state;
            let number = match *figure {
                "messages" => state.messages,
                "bytes" => state.bytes,
                "first" => state.first_seq,
                "last" => state.last_seq,
                "consumers" => state.consumer_count,
                other => return Err(format!("{other:?} is no figure of a stream")),
            };
            Ok(number.to_string())
        }
        ["message", name, subject] => {
            let found = streams::last_message(client, name, subject).await.map_err(|error| error.to_string())?;
            let found = found.ok_or_else(|| format!("stream {name} has no message of {subject}"))?;
            Ok(String::from_utf8_lossy(&found.payload).trim().to_owned())
        }
        _ => Err(format!("{query:?} is neither `stream NAME FIGURE` nor `message NAME SUBJECT`")),
    }
}
