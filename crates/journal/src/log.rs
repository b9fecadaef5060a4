//! The journal's rows: questions and statements.

use mainstay_storage::{Row, Statement, Store, Value};
use mainstay_types::{Digest, Sequence};
use tokio::task::JoinHandle;

use crate::chain::{Head, Misfit, MisfitReason, Stored};
use crate::error::ReadError;

/// Events that are read at once. With the longest payloads a page is a few MiB, with common ones 300 KiB.
const PAGE: usize = 1000;

/// The head: the last acknowledged event.
pub(crate) async fn head(store: &Store) -> Result<Head, ReadError> {
    let rows = store.read(Statement::new("SELECT sequence, digest FROM head", [])).await?;
    let no_head = || Misfit { sequence: 0, reason: MisfitReason::NoHead };
    let row = rows.first().ok_or_else(no_head)?;
    let sequence = row.integer(0)?.try_into().map_err(|_| no_head())?;
    Ok(Head { sequence, digest: digest(row.blob(1)?).ok_or_else(no_head)? })
}

/// The events after a sequence number, no more than a limit.
pub(crate) async fn page(store: &Store, after: Sequence, limit: usize) -> Result<Vec<Stored>, ReadError> {
    let question = Statement::new(
        "SELECT sequence, body FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2",
        [integer(after), integer(limit as u64)],
    );
    store.read(question).await?.into_iter().map(stored).collect()
}

/// How many events lie beyond a sequence number, and the last one's number.
pub(crate) async fn beyond(store: &Store, sequence: Sequence) -> Result<Option<Sequence>, ReadError> {
    let question = Statement::new(
        "SELECT sequence FROM events WHERE sequence > $1 ORDER BY sequence DESC LIMIT 1",
        [integer(sequence)],
    );
    let rows = store.read(question).await?;
    Ok(rows.first().map(|row| row.integer(0)).transpose()?.map(i64::cast_unsigned))
}

/// The transaction that appends events after a head. Its first statement says that the head is still the same.
pub(crate) fn append(old: Head, new: Head, events: &[Stored]) -> Vec<Statement> {
    let rows = events.iter().map(|event| vec![integer(event.sequence), event.body.as_slice().into()]).collect();
    vec![
        Statement::new(
            "UPDATE head SET sequence = $1, digest = $2 WHERE sequence = $3 AND digest = $4",
            [
                integer(new.sequence),
                new.digest.as_bytes().as_slice().into(),
                integer(old.sequence),
                old.digest.as_bytes().as_slice().into(),
            ],
        )
        .expect(1),
        Statement::insert("events", &["sequence", "body"], rows).expect(events.len() as u64),
    ]
}

/// The transaction that cuts off what lies beyond a head.
pub(crate) fn cut(head: Head) -> Vec<Statement> {
    vec![
        Statement::new(
            "UPDATE head SET sequence = sequence WHERE sequence = $1 AND digest = $2",
            [integer(head.sequence), head.digest.as_bytes().as_slice().into()],
        )
        .expect(1),
        Statement::new("DELETE FROM events WHERE sequence > $1", [integer(head.sequence)]),
    ]
}

/// Events in order from one place in the chain up to another, a page of them ahead of whoever works on them.
pub(crate) struct Pages {
    store: Store,
    after: Sequence,
    to: Sequence,
    next: Option<JoinHandle<Result<Vec<Stored>, ReadError>>>,
}

impl Pages {
    pub fn new(store: &Store, after: Sequence, to: Sequence) -> Self {
        let mut pages = Self { store: store.clone(), after, to, next: None };
        pages.fetch();
        pages
    }

    /// The next page; none after the last one. Whether the events follow one another is not checked here.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, ReadError> {
        let Some(fetched) = self.next.take() else { return Ok(None) };
        let mut page = match fetched.await {
            Ok(result) => result?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        page.truncate(page.partition_point(|event| event.sequence <= self.to));
        match page.last() {
            None => Err(Misfit { sequence: self.after + 1, reason: MisfitReason::Missing }.into()),
            Some(last) => {
                self.after = last.sequence;
                self.fetch();
                Ok(Some(page))
            }
        }
    }

    fn fetch(&mut self) {
        if self.after < self.to {
            let (store, after) = (self.store.clone(), self.after);
            self.next = Some(tokio::spawn(async move { page(&store, after, PAGE).await }));
        }
    }
}

/// A dropped walk does not read on.
impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(fetching) = &self.next {
            fetching.abort();
        }
    }
}

fn stored(row: Row) -> Result<Stored, ReadError> {
    let sequence = row.integer(0)?.cast_unsigned();
    match row.into_values().into_iter().nth(1) {
        Some(Value::Blob(body)) => Ok(Stored { sequence, body }),
        _ => Err(Misfit { sequence, reason: MisfitReason::Missing }.into()),
    }
}

/// A digest as it is stored; none for bytes of another length.
pub(crate) fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

/// A number as it is stored: the databases count to 2^63, and so far no journal gets.
pub(crate) fn integer(number: u64) -> Value {
    Value::Integer(number.cast_signed())
}
