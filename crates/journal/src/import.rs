//! Putting events back that were read from a journal, byte by byte as they were.

use mainstay_storage::Store;
use mainstay_types::{Digest, Sequence};

use crate::chain::{Head, Misfit, MisfitReason, Stored};
use crate::error::{ImportError, ReadError};
use crate::log;

/// Takes the events of a journal, from the first on, into a store.
///
/// What the store has of the same journal already stays, so that an import that was cut off goes on; a store with another
/// journal is left as it is.
pub struct Import {
    store: Store,
    /// What the store had when the import began.
    had: Head,
    /// How far the events that were given go.
    reached: Head,
}

impl Import {
    /// Begins to put events into a store that was opened with [`crate::SCHEMA`], and that no [`crate::Journal`] has open.
    pub async fn begin(store: Store) -> Result<Self, ReadError> {
        let had = log::head(&store).await?;
        Ok(Self { store, had, reached: Head::default() })
    }

    /// How many events the store had when the import began.
    pub fn had(&self) -> Sequence {
        self.had.sequence
    }

    /// Takes the next events, encoded as [`mainstay_domain::event::Event::encode`] does. Each is checked against the chain; those
    /// that are taken are durable when this returns.
    pub async fn take(&mut self, bodies: Vec<Vec<u8>>) -> Result<(), ImportError> {
        let (mut fresh, old) = (Vec::new(), self.reached.max_by_sequence(self.had));
        for body in bodies {
            let stored = Stored { sequence: self.reached.sequence + 1, body };
            (_, self.reached) = stored.follow(self.reached)?;
            if self.reached.sequence == self.had.sequence && self.reached.digest != self.had.digest {
                return Err(ImportError::OtherJournal { sequence: self.had.sequence });
            }
            if self.reached.sequence > self.had.sequence {
                fresh.push(stored);
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.store.write(log::append(old, self.reached, &fresh)).await.map_err(ImportError::Write)
    }

    /// Says whether the store has the journal that was given, and whatever follows in it, and nothing else.
    pub async fn end(self) -> Result<(), ImportError> {
        if self.reached.sequence >= self.had.sequence {
            return Ok(());
        }
        // The store's journal is longer: its event at this place has to be the same.
        let last = log::page(&self.store, self.reached.sequence.saturating_sub(1), 1).await?;
        let same = match last.first() {
            _ if self.reached.sequence == 0 => false,
            Some(last) => Digest::of(&last.body) == self.reached.digest,
            None => return Err(Misfit { sequence: self.reached.sequence, reason: MisfitReason::Missing }.into()),
        };
        if same { Ok(()) } else { Err(ImportError::OtherJournal { sequence: self.reached.sequence }) }
    }
}

impl Head {
    fn max_by_sequence(self, other: Self) -> Self {
        if other.sequence > self.sequence { other } else { self }
    }
}
