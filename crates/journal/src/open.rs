//! Opening: snapshot, fold, repair of the end.

use mainstay_storage::{Store, WriteError};

use crate::chain::{Head, Misfit, MisfitReason, State};
use crate::error::{OpenError, ReadError};
use crate::log::{self, Pages};
use crate::snapshot;

/// How often the end of the journal is looked at anew because another writer moved it meanwhile.
const TRIES: usize = 20;

/// The state of a journal after its last acknowledged event, checked, and the sequence of its newest usable snapshot.
pub(crate) async fn load(store: &Store) -> Result<(State, u64), OpenError> {
    let head = log::head(store).await?;
    let mut state = snapshot::newest(store, head.sequence).await?.unwrap_or_default();
    let snapshot = state.head.sequence;
    for _ in 0..TRIES {
        let head = catch_up(store, &mut state).await?;
        if cut_off(store, head).await? {
            return Ok((state, snapshot));
        }
    }
    Err(OpenError::Busy)
}

/// Folds in what was stored since, up to the present head. On an error the state is not to be used any more.
pub(crate) async fn catch_up(store: &Store, state: &mut State) -> Result<Head, ReadError> {
    let head = log::head(store).await?;
    let mut pages = Pages::new(store, state.head.sequence, head.sequence);
    while let Some(page) = pages.next().await? {
        for event in &page {
            state.fold(event)?;
        }
    }
    if state.head != head {
        return Err(Misfit { sequence: head.sequence, reason: MisfitReason::Head }.into());
    }
    Ok(head)
}

/// Cuts off events beyond the head, which nobody was told of. Says whether the head is still the same.
async fn cut_off(store: &Store, head: Head) -> Result<bool, OpenError> {
    let Some(last) = log::beyond(store, head.sequence).await? else { return Ok(true) };
    match store.write(log::cut(head)).await {
        Ok(()) => {
            tracing::warn!(
                first = head.sequence + 1,
                last,
                "events beyond the journal's head were never acknowledged and were cut off"
            );
            Ok(true)
        }
        Err(WriteError::ExpectationNotMet { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
