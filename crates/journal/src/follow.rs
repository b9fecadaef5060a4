//! Following: every event after a sequence number, as it becomes durable.

use std::collections::VecDeque;
use std::sync::Arc;

use mainstay_domain::event::Event;
use mainstay_domain::view::View;
use mainstay_types::Sequence;
use tokio::sync::watch;

use crate::chain::{Misfit, MisfitReason};
use crate::error::ReadError;
use crate::journal::{Journal, READ_LIMIT};

/// A reader that misses nothing and holds no more than a page, however far behind it is.
pub struct Follower {
    journal: Journal,
    views: watch::Receiver<Arc<View>>,
    after: Sequence,
    page: VecDeque<Event>,
}

impl Follower {
    pub(crate) fn new(journal: Journal, views: watch::Receiver<Arc<View>>, after: Sequence) -> Self {
        Self { journal, views, after, page: VecDeque::new() }
    }

    /// The next event, as soon as there is one; none when the journal was closed. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Event>, ReadError> {
        while self.page.is_empty() {
            let newest = self.views.borrow_and_update().sequence();
            if newest > self.after {
                self.fetch().await?;
            } else if self.views.changed().await.is_err() {
                return Ok(None);
            }
        }
        let event = self.page.pop_front();
        self.after = event.as_ref().map_or(self.after, |event| event.sequence);
        Ok(event)
    }

    async fn fetch(&mut self) -> Result<(), ReadError> {
        let page = self.journal.read(self.after, READ_LIMIT).await?;
        for (event, expected) in page.iter().zip(self.after + 1..) {
            if event.sequence != expected {
                return Err(Misfit { sequence: expected, reason: MisfitReason::Missing }.into());
            }
        }
        if page.is_empty() {
            return Err(Misfit { sequence: self.after + 1, reason: MisfitReason::Missing }.into());
        }
        self.page = page.into();
        Ok(())
    }
}
