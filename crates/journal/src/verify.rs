//! Verification and replay: the whole chain from the first event.

use mainstay_domain::view::View;
use mainstay_storage::Store;
use mainstay_types::{Digest, Sequence};

use crate::chain::{Head, Misfit, MisfitReason, State};
use crate::error::ReadError;
use crate::log::{self, Pages};
use crate::open;

/// A chain that fits together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many events there are: the sequence number of the last one.
    pub events: Sequence,
    /// The digest of the last one, which vouches for all before it.
    pub head: Digest,
}

/// Walks the whole chain and finds the first event that is not what was recorded.
///
/// Checked are sequence, encoding, payload digest and chain of each event, up to the head. Progress is told after each
/// page as the sequence number reached and the one to reach. Nothing is repaired.
pub async fn verify(store: &Store, mut progress: impl FnMut(Sequence, Sequence)) -> Result<Verified, ReadError> {
    let end = log::head(store).await?;
    let mut reached = Head::default();
    let mut pages = Pages::new(store, 0, end.sequence);
    while let Some(page) = pages.next().await? {
        for stored in &page {
            (_, reached) = stored.follow(reached)?;
        }
        progress(reached.sequence, end.sequence);
    }
    if reached != end {
        return Err(Misfit { sequence: end.sequence, reason: MisfitReason::Head }.into());
    }
    Ok(Verified { events: end.sequence, head: end.digest })
}

/// The view as a fold of all events from the first, without any snapshot and with every check of [`verify`].
pub async fn replay(store: &Store) -> Result<View, ReadError> {
    let mut state = State::default();
    open::catch_up(store, &mut state).await?;
    Ok(state.view)
}
