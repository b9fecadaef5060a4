//! The one task that changes entries: whatever waits is checked, sealed and stored in one transaction.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use mainstay_storage::{ReadError, Statement, WriteError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::barrier::{BarrierError, Change, CommitError};
use crate::decide::{Decision, decide};
use crate::head::{Head, IntegrityError};
use crate::inner::{Inner, Removed, Turn};
use crate::integrity::IntegrityKey;
use crate::keyring::{Keyring, OPERATIONS_PER_KEY};
use crate::record::{COLUMNS, Imprint, Record, stored};

/// Commits that may wait: four full batches. Whoever comes later waits outside, where it costs a future only.
pub(crate) const QUEUE: usize = 1024;

/// Commits that are stored together. Past a few hundred, the fsync that they share no longer weighs.
const BATCH: usize = 256;

/// How often a batch is decided anew because another writer of the same store was faster.
const CONFLICT_TRIES: usize = 16;

/// Removals that a snapshot may not have taken note of yet. One that reads on takes them with every page; one whose reader
/// does not would hold ever more memory, and is given up instead.
pub(crate) const REMOVALS_REMEMBERED: usize = 100_000;

/// What the writer is asked to do.
pub(crate) enum Request {
    Commit(Commit),
    Close(oneshot::Sender<()>),
}

/// Changes that wait for their turn.
pub(crate) struct Commit {
    pub changes: Vec<Change>,
    pub reply: oneshot::Sender<Result<(), CommitError>>,
    /// Room among the bytes that may wait, given back with the answer.
    pub _room: OwnedSemaphorePermit,
}

/// Why a batch was not stored.
enum Failure {
    Sealed,
    /// Another writer was faster: the batch can be decided anew.
    Overtaken(WriteError),
    Write(WriteError),
    Read(ReadError),
    Integrity(IntegrityError),
    Random(getrandom::Error),
}

/// Works until it is closed or the last handle is gone.
pub(crate) async fn run(inner: Arc<Inner>, mut queue: mpsc::Receiver<Request>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut waiting, BATCH).await > 0 {
        let mut batch = Vec::with_capacity(waiting.len());
        let mut closing = Vec::new();
        for request in waiting.drain(..) {
            match request {
                Request::Commit(commit) => batch.push(commit),
                Request::Close(done) => closing.push(done),
            }
        }
        if !batch.is_empty() {
            commit(&inner, batch, OPERATIONS_PER_KEY).await;
        }
        if !closing.is_empty() {
            return;
        }
        // Callers that were just answered come first: what they change next goes into the next batch, and not only the one
        // commit that came meanwhile.
        tokio::task::yield_now().await;
    }
}

/// Stores a batch, or nothing of it, and answers everybody in it.
async fn commit(inner: &Inner, batch: Vec<Commit>, operations_per_key: u64) {
    let mut turn = inner.turn().await;
    let mut tries = 1;
    let result = loop {
        match try_commit(inner, &mut turn, &batch).await {
            Err(Failure::Overtaken(_)) if tries < CONFLICT_TRIES => {
                turn.doubtful = true;
                tries += 1;
            }
            result => break result,
        }
    };
    match result {
        Ok(conflicts) => {
            for (commit, conflict) in batch.into_iter().zip(conflicts) {
                let answer = conflict.map_or(Ok(()), |path| Err(CommitError::Conflict { path }));
                // A caller that went away meanwhile is not told, and what it changed stands all the same.
                let _ = commit.reply.send(answer);
            }
        }
        Err(failure) => {
            let error = Arc::new(BarrierError::from(failure));
            for commit in batch {
                let _ = commit.reply.send(Err(CommitError::Barrier(error.shared())));
            }
        }
    }
    if turn.head.is_some_and(|head| head.operations >= operations_per_key)
        && let Err(error) = inner.rotate(&turn).await
    {
        tracing::warn!(%error, "a data key has sealed many entries and could not be replaced; the next change tries again");
    }
}

/// One try: the path that was not as expected, for each commit that had one.
async fn try_commit(inner: &Inner, turn: &mut Turn, batch: &[Commit]) -> Result<Vec<Option<String>>, Failure> {
    let (mut head, integrity) = turn.begin(inner).ok_or(Failure::Sealed)?;
    if turn.doubtful {
        head = catch_up(inner, turn, head, &integrity).await?;
    }
    let current = current(inner, batch).await?;
    // What was read is newer than what this process knows of: another one has written.
    if current.values().flatten().any(|imprint| imprint.revision > head.counter) {
        return Err(Failure::Overtaken(WriteError::ExpectationNotMet { statement: 0, expected: 1, found: 0 }));
    }
    let commits = batch.iter().map(|commit| commit.changes.as_slice());
    let decision = decide(commits, head.counter, |path| current[path].map(|imprint| imprint.revision));
    let prepared = inner.with_keys(|keyring| prepare(keyring, head, &current, &decision)).ok_or(Failure::Sealed)?;
    let Prepared { head: after, statements, published } = prepared.map_err(Failure::Random)?;
    // The first statement is the head's, which alone changes nothing: an entry was removed that was not there.
    if statements.len() > 1 {
        inner.store.write(statements).await.map_err(|error| not_stored(turn, error))?;
        inner.advance(turn, after);
        publish(inner, &decision, published);
    }
    Ok(decision.conflicts.into_iter().map(|path| path.map(str::to_owned)).collect())
}

/// The entries that a batch touches, as they are now.
async fn current<'a>(inner: &Inner, batch: &'a [Commit]) -> Result<HashMap<&'a str, Option<Imprint>>, Failure> {
    let mut current = HashMap::new();
    let mut unknown = Vec::new();
    for change in batch.iter().flat_map(|commit| &commit.changes) {
        let path = change.path.as_str();
        if current.contains_key(path) {
            continue;
        }
        let known = inner.cache.peek(path);
        if known.is_none() {
            unknown.push(path);
        }
        current.insert(path, known.flatten().map(|record| record.imprint));
    }
    for paths in unknown.chunks(PATHS_AT_ONCE) {
        for row in inner.store.read(select(paths)).await.map_err(Failure::Read)? {
            let imprint = Imprint::from_row(&row, [1, 2, 3]).map_err(Failure::Read)?;
            if let Some(known) = current.get_mut(row.text(0).map_err(Failure::Read)?) {
                *known = Some(imprint);
            }
        }
    }
    Ok(current)
}

/// What is written for a batch, and what the cache is told afterwards.
struct Prepared<'a> {
    head: Head,
    statements: Vec<Statement>,
    published: Vec<(&'a str, Option<Arc<Record>>)>,
}

fn prepare<'a>(
    keyring: &Keyring,
    before: Head,
    current: &HashMap<&str, Option<Imprint>>,
    decision: &Decision<'a>,
) -> Result<Prepared<'a>, getrandom::Error> {
    let integrity = keyring.integrity();
    let (newest, _) = keyring.newest();
    let operations = if before.key_version == newest { before.operations } else { 0 };
    let mut head = Head { counter: decision.counter, key_version: newest, operations, ..before };
    let (mut inserted, mut statements, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for (&path, decided) in &decision.changes {
        let old = current[path];
        if let Some(old) = old {
            head.sum = head.sum.minus(integrity.term(path, &old));
            head.entries = head.entries.saturating_sub(1);
        }
        let new = decided.value.map(|value| keyring.seal(path, decided.revision, value)).transpose()?.map(Arc::new);
        if let Some(new) = &new {
            head.sum = head.sum.plus(integrity.term(path, &new.imprint));
            head.entries += 1;
            head.operations += 1;
        }
        match (old, &new) {
            (None, Some(new)) => inserted.push(Vec::from(new.values(path))),
            (Some(old), Some(new)) => statements.push(update(path, old.revision, new)),
            (Some(old), None) => statements.push(delete(path, old.revision)),
            (None, None) => {}
        }
        published.push((path, new));
    }
    // First of all, so that whoever was overtaken learns it from this statement.
    statements.insert(0, head.replace(&before, integrity)?);
    if !inserted.is_empty() {
        statements.push(Statement::insert("entries", COLUMNS, inserted));
    }
    Ok(Prepared { head, statements, published })
}

/// Tells readers, and a snapshot that is being taken, what is durable now.
fn publish(inner: &Inner, decision: &Decision<'_>, published: Vec<(&str, Option<Arc<Record>>)>) {
    let mut watched = inner.removed.lock().unwrap_or_else(PoisonError::into_inner);
    for (path, record) in published {
        if record.is_none()
            && let Some(removed) = &mut *watched
            && removed.len() <= REMOVALS_REMEMBERED
        {
            removed.push(Removed { path: path.to_owned(), revision: decision.changes[path].revision });
        }
        inner.cache.publish(path, record);
    }
}

/// What a write that failed leaves behind.
fn not_stored(turn: &mut Turn, error: WriteError) -> Failure {
    match error {
        WriteError::ExpectationNotMet { .. } | WriteError::Constraint { .. } => Failure::Overtaken(error),
        WriteError::OutcomeUnknown { .. } => {
            turn.doubtful = true;
            Failure::Write(error)
        }
        error => Failure::Write(error),
    }
}

/// Goes on from what is stored, which another process may have written, or a change of our own that was not confirmed.
async fn catch_up(inner: &Inner, turn: &mut Turn, known: Head, key: &IntegrityKey) -> Result<Head, Failure> {
    let head = Head::load(&inner.store, key).await.map_err(|error| match error {
        IntegrityError::Read(error) => Failure::Read(error),
        error => Failure::Integrity(error),
    })?;
    if head.counter < known.counter {
        return Err(Failure::Integrity(IntegrityError::Head));
    }
    inner.cache.clear();
    inner.advance(turn, head);
    turn.doubtful = false;
    Ok(head)
}

/// How many paths [`select`] asks for at once: one question for most batches.
const PATHS_AT_ONCE: usize = 32;

/// Asks for entries by their paths. The text has as many places whatever is asked, since it is static.
fn select(paths: &[&str]) -> Statement {
    const SQL: &str = "SELECT path, revision, key_version, mark FROM entries WHERE path IN (\
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
        $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)";
    let last = paths.last().copied().unwrap_or_default();
    let padded = paths.iter().copied().chain(std::iter::repeat(last)).take(PATHS_AT_ONCE);
    Statement::new(SQL, padded.map(Into::into).collect::<Vec<_>>())
}

fn update(path: &str, before: u64, record: &Record) -> Statement {
    let sql = "UPDATE entries SET revision = $1, key_version = $3, mark = $4, ciphertext = $5 \
               WHERE path = $2 AND revision = $6";
    let mut parameters = Vec::from(record.values(path));
    parameters.push(stored(before));
    Statement::new(sql, parameters).expect(1)
}

fn delete(path: &str, before: u64) -> Statement {
    Statement::new("DELETE FROM entries WHERE path = $1 AND revision = $2", [path.into(), stored(before)]).expect(1)
}

impl From<Failure> for BarrierError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sealed => Self::Sealed,
            Failure::Overtaken(error) | Failure::Write(error) => Self::Write(error),
            Failure::Read(error) => Self::Read(error),
            Failure::Integrity(error) => Self::Integrity(error),
            Failure::Random(error) => Self::Random(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_storage::{Location, Service, Store};
    use tokio::sync::{Semaphore, oneshot};
    use zeroize::Zeroizing;

    use super::{Commit, commit};
    use crate::barrier::{Change, Expect};
    use crate::inner::Inner;
    use crate::schema::SCHEMA;
    use crate::seal::MasterKey;

    #[tokio::test]
    async fn a_data_key_that_has_sealed_enough_is_replaced_by_itself() {
        let store = Store::open(&Location::InMemory, Service::Custody, SCHEMA).await.unwrap();
        let inner = Inner::new(store);
        inner.initialize(&MasterKey::from_bytes([1; 32])).await.unwrap();
        let room = Arc::new(Semaphore::new(1));
        let mut versions = Vec::new();
        for number in 0..10u8 {
            let (reply, answer) = oneshot::channel();
            let value = Some(Zeroizing::new(vec![number]));
            let changes = vec![Change { path: format!("a/{}", number % 2), expect: Expect::Anything, value }];
            let room = room.clone().acquire_owned().await.unwrap();
            commit(&inner, vec![Commit { changes, reply, _room: room }], 3).await;
            answer.await.unwrap().unwrap();
            let head = inner.turn().await.head.unwrap();
            assert_eq!((head.counter, head.entries), (u64::from(number) + 1, if number == 0 { 1 } else { 2 }));
            versions.push(head.key_version);
        }
        assert_eq!(versions, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
    }
}
