//! A backup brought back in a virtual host that nobody may come into, and read there.
//!
//! On the node that serves, and not on one of its own: a node takes some 170 MB and seven seconds to start, on a machine that serves
//! others meanwhile, and what is looked at is the same. No user has any right in that virtual host but ours.
//!
//! Owners assert with two kinds of questions:
//!
//! ```text
//! queue NAME messages    how many there are
//! queue NAME N           the text of the Nth message, the first of which is 1
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Check, Rehearsal};
use mainstay_engine::supervise::{Removal, Removals};
use serde_json::{Value, json};

use super::messages::{Contents, Message, Reading};
use super::{definitions_of, host, messages};
use crate::api::{Api, failed};

/// Whether a name is one of such a virtual host.
pub(super) fn is_scratch(host: &str) -> bool {
    host.starts_with(host::SCRATCH_PREFIX)
}

pub(super) async fn rehearse(
    api: &Arc<Api>,
    removals: &Removals,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
) -> Result<Rehearsal, EngineError> {
    let begin = Instant::now();
    archive.progress.stage("reading the backup");
    let mut definitions = definitions_of(backup, archive).await?;
    // Those could make the node connect to somewhere.
    definitions["parameters"] = json!([]);
    let (host, removal) = make(api, removals).await?;
    let looked = async {
        archive.progress.stage("bringing the messages back");
        host::declare(api, &host, &definitions).await?;
        let mut wanted = BTreeMap::<String, Vec<Message>>::new();
        let mut reading = Reading::of(backup, archive).await?;
        while let Some(message) = reading.next().await? {
            messages::publish(api, &host, &message).await?;
            let digest = Message { payload: digest(&message), ..message };
            wanted.entry(digest.queue.clone()).or_default().push(digest);
        }
        let recovery_time = begin.elapsed();
        archive.progress.stage("looking at the queues");
        let mut checks = vec![declared(api, &host, &definitions).await?];
        for (queue, wanted) in &wanted {
            checks.push(compare(api, &host, queue, wanted).await?);
        }
        for assertion in assertions {
            checks.push(assert(api, &host, assertion).await);
        }
        Ok(Rehearsal { recovery_time, newest: backup.ended_at, checks })
    };
    let looked = looked.await;
    removal.now().await;
    looked
}

async fn make(api: &Arc<Api>, removals: &Removals) -> Result<(String, Removal), EngineError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    let host = format!("{}{:016x}", host::SCRATCH_PREFIX, u64::from_be_bytes(random));
    let removal = removals.at_end({
        let (api, path) = (api.clone(), format!("vhosts/{host}"));
        async move {
            if let Err(error) = api.delete(&path).await {
                tracing::warn!(%path, %error, "a scratch virtual host is left");
            }
        }
    });
    let made = async {
        api.put(&format!("vhosts/{host}"), &json!({}))
            .await
            .map_err(failed("no scratch virtual host could be made"))?;
        // Goes with the virtual host.
        let admin = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        let permitted = api.put(&format!("permissions/{host}/{}", crate::names::ADMIN), &admin).await;
        permitted.map(drop).map_err(failed("the scratch virtual host could not be used"))
    };
    match made.await {
        Ok(()) => Ok((host, removal)),
        Err(error) => {
            removal.now().await;
            Err(error)
        }
    }
}

/// Whether as many things are declared as were.
async fn declared(api: &Api, host: &str, wanted: &Value) -> Result<Check, EngineError> {
    let found = host::definitions(api, host).await.map_err(failed("the definitions could not be looked at"))?;
    let count = |all: &Value| {
        let kinds = ["queues", "exchanges", "bindings", "policies"];
        let counts = kinds.map(|kind| format!("{} {kind}", all[kind].as_array().map_or(0, Vec::len)));
        counts.join(", ")
    };
    let (seen, expected) = (count(&found), count(wanted));
    let failure = (seen != expected).then(|| format!("{expected} were backed up"));
    Ok(Check { name: "definitions".to_owned(), failure, seen })
}

/// Whether a queue holds the same messages in the same order.
async fn compare(api: &Api, host: &str, queue: &str, wanted: &[Message]) -> Result<Check, EngineError> {
    let read = messages::read(api, host, queue).await.map_err(failed(format!("queue {queue} could not be read")))?;
    let name = format!("queue {queue}");
    let Contents::All(found) = read else {
        let failure = Some("it holds more than was backed up".to_owned());
        return Ok(Check { name, failure, seen: String::new() });
    };
    let same =
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| digest(found) == wanted.payload);
    let failure = (!same).then(|| format!("its {} messages are not those that were backed up", wanted.len()));
    Ok(Check { name, failure, seen: format!("{} messages with the same digests", found.len()) })
}

/// What tells one message from another, in few bytes however large it is.
fn digest(message: &Message) -> String {
    let text = format!("{}{}", message.properties, message.payload);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn assert(api: &Api, host: &str, assertion: &Assertion) -> Check {
    let name = format!("assertion {}", assertion.query);
    let (failure, seen) = match answer(api, host, &assertion.query).await {
        Ok(seen) if seen == assertion.expect => (None, seen),
        Ok(seen) => (Some(format!("it is {seen:?}, and {:?} was expected", assertion.expect)), seen),
        Err(reason) => (Some(reason), String::new()),
    };
    Check { name, failure, seen }
}

async fn answer(api: &Api, host: &str, query: &str) -> Result<String, String> {
    let words: Vec<&str> = query.split_ascii_whitespace().collect();
    let ["queue", queue, asked] = words.as_slice() else {
        return Err(format!("{query:?} is neither `queue NAME messages` nor `queue NAME N`"));
    };
    let found = match messages::read(api, host, queue).await.map_err(|error| error.to_string())? {
        Contents::All(found) => found,
        Contents::TooMuch => return Err(format!("queue {queue} holds more than is read")),
    };
    if *asked == "messages" {
        return Ok(found.len().to_string());
    }
    let number: usize = asked.parse().map_err(|_| format!("{asked:?} is no number of a message"))?;
    let message = number.checked_sub(1).and_then(|place| found.get(place));
    let message = message.ok_or_else(|| format!("queue {queue} has no message {number}"))?;
    let payload = STANDARD.decode(&message.payload).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&payload).trim().to_owned())
}
