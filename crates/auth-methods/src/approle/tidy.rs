//! Removing secret ids whose time is over.

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Answer, Batch, Refusal, Request};
use mainstay_types::Timestamp;

use crate::approle::Approle;
use crate::approle::secret_id::Place;

/// How many secret ids are removed in one transaction: it stays short, and other writers get their turn.
const REMOVED_AT_ONCE: usize = 100;

impl Approle {
    pub(super) async fn tidy_now(&self, request: &Request) -> Result<Answer, Refusal> {
        self.tidy(request.now).await?;
        let started = "Tidy operation successfully started. Any information from the operation will be printed to Vault's \
                       server logs.";
        Ok(Answer::nothing().status(202).warning(started))
    }

    /// Removes what has expired. Its cost is that of what it removes, however many secret ids there are.
    pub(super) async fn tidy(&self, now: Timestamp) -> Result<(), Refusal> {
        loop {
            let keys = self.storage.keys("expiry/", None, REMOVED_AT_ONCE).await?;
            let mut batch = Batch::default();
            let mut removed = 0;
            for key in &keys {
                let due = Place::of_expiry_key(key).filter(|(expires_at, _)| *expires_at <= now);
                let Some((expires_at, place)) = due else { break };
                removed += 1;
                match self.secret_id(&place).await?.filter(|stored| stored.value.expires_at == Some(expires_at)) {
                    Some(stored) => {
                        self.remove_ways(&mut batch, &place, &stored.value);
                        batch.delete(&place.key(), Expect::Revision(stored.revision));
                    }
                    // What this was written for is gone, or was replaced by one that lasts longer.
                    None => {
                        batch.delete(key, Expect::Anything);
                    }
                }
            }
            if removed > 0 {
                match self.storage.commit(batch).await {
                    // Somebody destroyed one of them at the same time. The next time will do.
                    Err(CommitError::Conflict { .. }) => return Ok(()),
                    result => result?,
                }
            }
            if removed < REMOVED_AT_ONCE {
                return Ok(());
            }
        }
    }
}
