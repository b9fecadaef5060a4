//! The keeper: ends what is due, all day long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};

use crate::lease::agenda::Due;
use crate::lease::entry::{LeaseEntry, LeaseKey};
use crate::lease::rest::LONGEST_SECONDS;
use crate::lease::revoke::{AT_ONCE, PAGE};
use crate::open::Open;
use crate::token::{TokenEntry, TokenKey};

/// How far the agenda reaches, and how often it is filled from what is on disk: whatever somebody forgot to put there is
/// found then.
pub(crate) const REACH_SECONDS: u64 = 2 * 3600;
const FILL: Duration = Duration::from_secs(3600);

/// While storage does not answer the leases cannot be seen; they are asked for again after this.
const FILL_AGAIN: Duration = Duration::from_secs(5);

/// The longest sleep: a clock that is set forward while it lasts is noticed after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The wait after something could not even be looked at.
const RETRY_SECONDS: u64 = 5;

impl Open {
    /// What is due is done, until custody is sealed. Everything that it meets is on disk: nothing is lost with it.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut working = JoinSet::new();
        let mut dues = HashMap::new();
        loop {
            let now = Timestamp::now();
            for due in self.agenda.take(now, AT_ONCE - working.len()) {
                let (open, taken) = (self.clone(), due.clone());
                let task = working.spawn(async move { open.end_if_due(taken, now).await });
                dues.insert(task.id(), due);
            }
            let is_full = working.len() >= AT_ONCE;
            let wait = self.agenda.next().map_or(LONGEST_SLEEP, |at| Duration::from_secs_f64(at.seconds_since(now)));
            tokio::select! {
                Some(ended) = working.join_next_with_id() => self.worked(&mut dues, ended),
                () = self.agenda.earlier(), if !is_full => {}
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(1), LONGEST_SLEEP)), if !is_full => {}
            }
        }
    }

    /// Brings everything on disk to the agenda, again and again.
    pub(crate) async fn fill(self: Arc<Self>) {
        loop {
            let wait = match self.fill_agenda(Timestamp::now().plus_seconds(REACH_SECONDS)).await {
                Ok(()) => FILL,
                Err(refusal) => {
                    tracing::warn!(%refusal, "the leases cannot be read, and are asked for again");
                    FILL_AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Puts a token on the agenda.
    pub(crate) fn schedule_token(&self, key: &TokenKey, entry: &TokenEntry) {
        let at = if entry.revoking { Some(Timestamp::EPOCH) } else { entry.expires_at };
        if let Some(at) = at {
            self.agenda.put(at, Due::Token(key.clone()));
        }
    }

    fn schedule_lease(&self, entry: &LeaseEntry) {
        let at = if entry.revoking { Timestamp::EPOCH } else { entry.expires_at };
        self.agenda.put(at, Due::Lease(entry.key.clone()));
    }

    fn worked(&self, dues: &mut HashMap<Id, Due>, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let due = dues.remove(&id);
        if let (Err(error), Some(due)) = (ended, due) {
            tracing::error!(%error, "taking something back ended badly, and is tried again");
            self.agenda.put(Timestamp::now().plus_seconds(RETRY_SECONDS), due);
        }
    }

    async fn fill_agenda(&self, until: Timestamp) -> Result<(), Refusal> {
        self.agenda.reach(until);
        let mut after = None;
        loop {
            let page = self.tokens.page(after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for key in page {
                if let Some(entry) = self.tokens.get(&key).await? {
                    self.schedule_token(&key, &entry);
                }
            }
            after = Some(last);
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.core.keys("lease/", after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for path in page {
                if let Some(entry) = self.core.value::<LeaseEntry>(&path).await? {
                    self.schedule_lease(&entry);
                }
            }
            after = Some(last);
        }
    }

    async fn end_if_due(&self, due: Due, now: Timestamp) {
        let outcome = match &due {
            Due::Token(key) => self.end_token_if_due(key, now).await,
            Due::Lease(key) => self.end_lease_if_due(key, now).await,
        };
        if let Err(refusal) = outcome {
            let refusal = &refusal as &dyn std::error::Error;
            tracing::warn!(refusal, "what is due could not be taken back, and is tried again");
        }
    }

    async fn end_token_if_due(&self, key: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        let again = || self.agenda.put(now.plus_seconds(RETRY_SECONDS), Due::Token(key.clone()));
        let entry = self.tokens.get(key).await.inspect_err(|_| again())?;
        match entry {
            Some(entry) if entry.revoking || entry.is_expired(now) => {
                self.revoke_token(key, now).await.inspect_err(|_| again())
            }
            Some(entry) => {
                self.schedule_token(key, &entry);
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn end_lease_if_due(&self, key: &LeaseKey, now: Timestamp) -> Result<(), Refusal> {
        let at = |at: Timestamp| self.agenda.put(at, Due::Lease(key.clone()));
        let entry = self.lease(key).await.inspect_err(|_| at(now.plus_seconds(RETRY_SECONDS)))?;
        match entry {
            Some(entry) if entry.revoking || entry.expires_at <= now => match self.rests.until(&entry.mount, now) {
                Some(until) => {
                    at(until);
                    Ok(())
                }
                None => {
                    let longest = now.plus_seconds(LONGEST_SECONDS);
                    self.revoke_lease(key, now).await.inspect_err(|_| at(longest))
                }
            },
            Some(entry) => {
                self.schedule_lease(&entry);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
