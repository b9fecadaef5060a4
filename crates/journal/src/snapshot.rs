//! Snapshots: the view after an event, so that a start reads only what came later. Each can be thrown away.

use mainstay_domain::view::View;
use mainstay_storage::{ReadError, Row, Statement, Store, WriteError};
use mainstay_types::{Digest, Sequence};

use crate::chain::{Head, State};
use crate::log::{digest, integer};

/// Events between two snapshots. Folding this many takes a few tenths of a second at the next start; writing the whole
/// view more often would slow down the appends beside it.
pub(crate) const EVENTS_BETWEEN: u64 = 50_000;

/// Snapshots that are kept: the newest, and the one before in case the newest can not be used.
const KEPT: u64 = 2;

/// The state of the newest usable snapshot at or before an event.
pub(crate) async fn newest(store: &Store, at_most: Sequence) -> Result<Option<State>, ReadError> {
    let mut before = at_most + 1;
    loop {
        let question = Statement::new(
            "SELECT sequence, format, head, digest, body FROM snapshots WHERE sequence < $1
             ORDER BY sequence DESC LIMIT 1",
            [integer(before)],
        );
        let rows = store.read(question).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        before = row.integer(0)?.cast_unsigned();
        match usable(before, row)? {
            Ok(state) => return Ok(Some(state)),
            Err(reason) => tracing::warn!(sequence = before, reason, "a snapshot of the journal is not used"),
        }
    }
}

/// Stores a snapshot of a state and prunes older ones.
pub(crate) async fn take(store: &Store, state: State) -> Result<(), WriteError> {
    let head = state.head;
    let Ok(body) = tokio::task::spawn_blocking(move || encode(&state.view)).await else { return Ok(()) };
    let insert = Statement::new(
        "INSERT INTO snapshots (sequence, format, head, digest, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (sequence) DO NOTHING",
        [
            integer(head.sequence),
            View::FORMAT.into(),
            head.digest.as_bytes().as_slice().into(),
            seal(head, View::FORMAT.into(), &body).as_bytes().as_slice().into(),
            body.into(),
        ],
    );
    let prune = Statement::new(
        "DELETE FROM snapshots WHERE sequence NOT IN (SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT $1)",
        [integer(KEPT)],
    );
    store.write(vec![insert, prune]).await
}

/// The state in a row, or why it can not be used.
fn usable(sequence: Sequence, row: &Row) -> Result<Result<State, &'static str>, ReadError> {
    let format = row.integer(1)?;
    let body = row.blob(4)?;
    if format != i64::from(View::FORMAT) {
        return Ok(Err("it has the format of another version"));
    }
    let (Some(head), Some(sealed)) = (digest(row.blob(2)?), digest(row.blob(3)?)) else {
        return Ok(Err("its digests have the wrong length"));
    };
    let head = Head { sequence, digest: head };
    if seal(head, format, body) != sealed {
        return Ok(Err("it is damaged"));
    }
    Ok(match minicbor::decode::<View>(body) {
        Ok(view) if view.sequence() == sequence => Ok(State { view, head }),
        Ok(_) => Err("it is of another event"),
        Err(_) => Err("it can not be decoded"),
    })
}

/// The digest over all of a snapshot, so that no part of it can stand with another's.
fn seal(head: Head, format: i64, body: &[u8]) -> Digest {
    let mut text = Vec::with_capacity(48 + 32);
    text.extend_from_slice(&head.sequence.to_be_bytes());
    text.extend_from_slice(&format.to_be_bytes());
    text.extend_from_slice(head.digest.as_bytes());
    text.extend_from_slice(Digest::of(body).as_bytes());
    Digest::of(&text)
}

fn encode(view: &View) -> Vec<u8> {
    minicbor::to_vec(view).expect("writing to memory does not fail, and no encoding of the view raises an error")
}
