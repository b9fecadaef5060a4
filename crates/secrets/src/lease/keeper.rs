//! Taking back what was handed out: tokens with all that hangs on them, and leases, until they are gone.

use std::sync::Arc;
use std::time::Duration;

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Batch, Class, Lease, Refusal};
use mainstay_types::{TenantName, Timestamp};
use tokio::time::timeout;

use crate::draw;
use crate::lease::agenda::Due;
use crate::lease::entry::{LeaseEntry, LeaseKey};
use crate::mount::{MountRecord, Mounted, Namespace};
use crate::open::Open;
use crate::token::{TokenEntry, TokenKey, TokenKind};

/// How many letters make a lease's id its own, as Vault's.
const ID_LETTERS: usize = 24;

/// How many children, leases and entries are worked through at once.
const PAGE: usize = 256;

/// How long one try to take a lease back may take. An engine that is down answers sooner; one that hangs is tried again.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait after a failure: doubled each time from the first to the longest. A credential that should be gone is
/// tried for again within minutes however long its engine was away.
const FIRST_RETRY_SECONDS: u64 = 5;
const LONGEST_RETRY_SECONDS: u64 = 300;

/// How often a change that met another one is tried again.
const ATTEMPTS: u32 = 16;

impl Open {
    /// Keeps a lease for what a backend has handed out.
    pub(crate) async fn grant(
        &self,
        tenant: &TenantName,
        path: &str,
        mounted: &Mounted,
        token: &TokenKey,
        lease: Lease,
        now: Timestamp,
    ) -> Result<LeaseEntry, Refusal> {
        let record = &mounted.record;
        let longest = match lease.max_ttl_seconds {
            0 => record.max_lease_seconds(),
            own => own.min(record.max_lease_seconds()),
        };
        let wanted = if lease.ttl_seconds == 0 { record.default_lease_seconds() } else { lease.ttl_seconds };
        let seconds = wanted.min(longest);
        let entry = LeaseEntry {
            key: LeaseKey { tenant: tenant.clone(), id: format!("{path}/{}", draw::letters(ID_LETTERS)?.as_str()) },
            mount: record.uuid.clone(),
            token: token.clone(),
            issued_at: now,
            expires_at: now.plus_seconds(seconds),
            renewed_at: None,
            renewable: lease.renewable,
            ttl_seconds: seconds,
            max_ttl_seconds: longest,
            internal: lease.internal,
            revoking: false,
            failures: 0,
            last_failure: None,
        };
        let mut batch = Batch::default();
        batch.put(&entry.key.path(), Expect::Absent, &entry);
        batch.put(&of_token(token, &entry.key), Expect::Absent, &entry.key);
        if let Err(error) = self.core.commit(batch).await {
            // Nobody will ever take back what has no lease, so it is taken back now.
            if let Err(refusal) = mounted.backend.revoke(&entry.internal, now).await {
                tracing::error!(%refusal, path, "what was handed out without a lease could not be taken back");
            }
            return Err(error.into());
        }
        self.agenda.put(entry.expires_at, Due::Lease(entry.key.clone()));
        Ok(entry)
    }

    /// The lease of a key.
    pub(crate) async fn lease(&self, key: &LeaseKey) -> Result<Option<LeaseEntry>, Refusal> {
        Ok(self.core.value(&key.path()).await?)
    }

    /// Makes a lease last longer, as far as it may.
    pub(crate) async fn renew_lease(
        &self,
        key: &LeaseKey,
        increment: Option<u64>,
        now: Timestamp,
    ) -> Result<LeaseEntry, Refusal> {
        let not_found = || Refusal::invalid("lease not found");
        for _ in 0..ATTEMPTS {
            let stored = self.core.get::<LeaseEntry>(&key.path()).await?.ok_or_else(not_found)?;
            let mut entry = stored.value;
            if entry.revoking || entry.expires_at <= now {
                return Err(Refusal::invalid("lease expired"));
            }
            if !entry.renewable {
                return Err(Refusal::invalid("lease is not renewable"));
            }
            let mounted = self.mount(&key.tenant, &entry.mount).await?.ok_or_else(not_found)?;
            let wanted = increment.filter(|seconds| *seconds > 0).unwrap_or(entry.ttl_seconds);
            let limit = entry.issued_at.plus_seconds(entry.max_ttl_seconds);
            let expires_at = now.plus_seconds(wanted).min(limit).max(now);
            let seconds = expires_at.seconds_since(now).round() as u64;
            let lease = mounted.backend.renew(entry.lease(), seconds, now).await?;
            entry.internal = lease.internal;
            entry.expires_at = expires_at;
            entry.renewed_at = Some(now);
            let mut batch = Batch::default();
            batch.put(&key.path(), Expect::Revision(stored.revision), &entry);
            match self.core.commit(batch).await {
                Ok(()) => {
                    self.agenda.put(entry.expires_at, Due::Lease(key.clone()));
                    return Ok(entry);
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    /// Takes a lease back. From the moment that this returns, whatever it says, the lease is on record as one that is
    /// to be taken back; an error says why it could not be yet, and it is tried again.
    pub(crate) async fn revoke_lease(&self, key: &LeaseKey, now: Timestamp) -> Result<(), Refusal> {
        let Some(entry) = self.mark_revoking(key).await? else { return Ok(()) };
        let outcome = self.take_back(&entry, now).await;
        match outcome {
            Ok(()) => self.forget_lease(&entry).await,
            Err(refusal) => {
                let failures = self.note_failure(key, &refusal).await?;
                let wait = FIRST_RETRY_SECONDS.saturating_mul(1 << failures.min(10)).min(LONGEST_RETRY_SECONDS);
                self.agenda.put(now.plus_seconds(wait), Due::Lease(key.clone()));
                Err(refusal)
            }
        }
    }

    /// Removes a lease from the record whether or not its credential is gone: for an engine that will never come back.
    pub(crate) async fn abandon_lease(&self, key: &LeaseKey, now: Timestamp) -> Result<(), Refusal> {
        if let Err(refusal) = self.revoke_lease(key, now).await {
            tracing::warn!(lease = key.id, %refusal, "a lease is given up, and what it stands for may still work");
            if let Some(entry) = self.lease(key).await? {
                self.forget_lease(&entry).await?;
            }
        }
        Ok(())
    }

    /// Revokes a token: it is refused from now on, and what hangs on it is taken back, children first.
    ///
    /// Once it is marked nothing brings it back: where this is interrupted the keeper goes on after the next unsealing.
    pub(crate) async fn revoke_token(&self, key: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        // An explicit stack: a chain of tokens may be longer than a thread's.
        let mut stack = vec![key.clone()];
        while let Some(key) = stack.last().cloned() {
            let entry = self.mark_token_revoking(&key).await?;
            let children = self.tokens.children(&key, PAGE).await?;
            if !children.is_empty() {
                stack.extend(children);
                continue;
            }
            stack.pop();
            self.end_leases_of(&key, now).await?;
            let Some(entry) = entry else { continue };
            self.clear_cubbyhole(&key).await?;
            if entry.kind == TokenKind::Layer {
                self.tokens.revoke_layer(&entry).await?;
            } else {
                self.tokens.forget(&key, &entry).await?;
            }
        }
        Ok(())
    }

    /// Removes a token and makes its children orphans, which Vault calls `revoke-orphan`.
    pub(crate) async fn revoke_alone(&self, key: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        loop {
            let children = self.tokens.children(key, PAGE).await?;
            if children.is_empty() {
                break;
            }
            for child in children {
                self.tokens.orphan(&child, key).await?;
            }
        }
        self.revoke_token(key, now).await
    }

    /// What is due is done, until custody is sealed. Everything that it meets is on disk: nothing is lost with it.
    pub(crate) async fn keep(self: Arc<Self>) {
        /// How much is taken back at the same time: enough for a fast engine, little enough for a slow one.
        const AT_ONCE: usize = 16;
        loop {
            let now = Timestamp::now();
            let due = self.agenda.take(now, AT_ONCE);
            if due.is_empty() {
                let wait = match self.agenda.next() {
                    Some(at) => Duration::from_secs_f64(at.seconds_since(now).max(0.001)),
                    None => Duration::from_secs(3600),
                };
                let _ = timeout(wait, self.agenda.earlier()).await;
                continue;
            }
            futures::future::join_all(due.into_iter().map(|due| self.end_if_due(due, now))).await;
        }
    }

    /// Puts every token and lease on the agenda: after unsealing.
    pub(crate) async fn fill_agenda(&self) -> Result<(), Refusal> {
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
                let Some(entry) = self.core.value::<LeaseEntry>(&path).await? else { continue };
                let at = if entry.revoking { Timestamp::EPOCH } else { entry.expires_at };
                self.agenda.put(at, Due::Lease(entry.key));
            }
            after = Some(last);
        }
    }

    /// Puts a token on the agenda.
    pub(crate) fn schedule_token(&self, key: &TokenKey, entry: &TokenEntry) {
        let at = if entry.revoking { Some(Timestamp::EPOCH) } else { entry.expires_at };
        if let Some(at) = at {
            self.agenda.put(at, Due::Token(key.clone()));
        }
    }

    async fn end_if_due(&self, due: Due, now: Timestamp) {
        let outcome = match &due {
            Due::Token(key) => self.end_token_if_due(key, now).await,
            Due::Lease(key) => self.end_lease_if_due(key, now).await,
        };
        if let Err(refusal) = outcome {
            tracing::warn!(
                refusal = &refusal as &dyn std::error::Error,
                "what is due could not be taken back, and is tried again"
            );
            self.agenda.put_missing(now.plus_seconds(FIRST_RETRY_SECONDS), due);
        }
    }

    async fn end_token_if_due(&self, key: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        match self.tokens.get(key).await? {
            Some(entry) if entry.revoking || entry.is_expired(now) => self.revoke_token(key, now).await,
            Some(entry) => {
                self.schedule_token(key, &entry);
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn end_lease_if_due(&self, key: &LeaseKey, now: Timestamp) -> Result<(), Refusal> {
        match self.lease(key).await? {
            Some(entry) if entry.revoking || entry.expires_at <= now => self.revoke_lease(key, now).await,
            Some(entry) => {
                self.agenda.put(entry.expires_at, Due::Lease(key.clone()));
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn take_back(&self, entry: &LeaseEntry, now: Timestamp) -> Result<(), Refusal> {
        let Some(mounted) = self.mount(&entry.key.tenant, &entry.mount).await? else { return Ok(()) };
        match timeout(REVOKE_TIMEOUT, mounted.backend.revoke(&entry.internal, now)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Unavailable { what: "the engine did not answer in time".to_owned(), source: None }),
        }
    }

    /// Marks a lease; nothing where there is none any more.
    async fn mark_revoking(&self, key: &LeaseKey) -> Result<Option<LeaseEntry>, Refusal> {
        self.change_lease(key, |entry| !std::mem::replace(&mut entry.revoking, true)).await
    }

    async fn note_failure(&self, key: &LeaseKey, refusal: &Refusal) -> Result<u32, Refusal> {
        let noted = self
            .change_lease(key, |entry| {
                entry.failures = entry.failures.saturating_add(1);
                entry.last_failure = Some(refusal.to_string());
                true
            })
            .await?;
        Ok(noted.map_or(0, |entry| entry.failures))
    }

    async fn change_lease(
        &self,
        key: &LeaseKey,
        mut change: impl FnMut(&mut LeaseEntry) -> bool,
    ) -> Result<Option<LeaseEntry>, Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.core.get::<LeaseEntry>(&key.path()).await? else { return Ok(None) };
            let mut entry = stored.value;
            if !change(&mut entry) {
                return Ok(Some(entry));
            }
            let mut batch = Batch::default();
            batch.put(&key.path(), Expect::Revision(stored.revision), &entry);
            match self.core.commit(batch).await {
                Ok(()) => return Ok(Some(entry)),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    async fn forget_lease(&self, entry: &LeaseEntry) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.delete(&entry.key.path(), Expect::Anything);
        batch.delete(&of_token(&entry.token, &entry.key), Expect::Anything);
        Ok(self.core.commit(batch).await?)
    }

    async fn mark_token_revoking(&self, key: &TokenKey) -> Result<Option<Arc<TokenEntry>>, Refusal> {
        match self.tokens.get(key).await? {
            Some(entry) if entry.kind == TokenKind::Layer => Ok(Some(entry)),
            Some(_) => self.tokens.change(key, |entry| !std::mem::replace(&mut entry.revoking, true)).await,
            None => Ok(None),
        }
    }

    /// Takes back the leases of a token. What its engine does not take back now stays on record and is tried again,
    /// which does not keep the token.
    async fn end_leases_of(&self, token: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        let folder = format!("lease-of/{}/", token.0);
        let mut after: Option<String> = None;
        loop {
            let page = self.core.keys(&folder, after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for path in &page {
                let Some(key) = self.core.value::<LeaseKey>(path).await? else { continue };
                if let Err(refusal) = self.revoke_lease(&key, now).await {
                    tracing::warn!(lease = key.id, %refusal, "a lease could not be taken back, and is tried again");
                }
            }
            after = Some(last);
        }
    }

    /// Tokens of the native API end without a word to anybody here; what they have made is taken back when it is seen.
    pub(crate) async fn end_what_layer_tokens_left(&self, now: Timestamp) -> Result<(), Refusal> {
        let mut ended = self.tokens.ended_layer_parents().await?;
        let holders = self.core.list("lease-of/").await?;
        let holders = holders.iter().filter_map(|folder| folder.strip_suffix('/')).map(|key| TokenKey(key.to_owned()));
        ended.extend(holders.filter(|key| self.tokens.is_ended_layer(key)));
        for key in ended {
            self.revoke_token(&key, now).await?;
        }
        Ok(())
    }

    /// Takes back all that a mount has handed out, and then removes it. Where something cannot be taken back the mount
    /// stays as it is, serving nothing, until it can.
    pub(crate) async fn leave(&self, namespace: &Namespace, record: &MountRecord) -> Result<(), Refusal> {
        let now = Timestamp::now();
        self.revoke_prefix(&namespace.tenant, &record.path, now).await?;
        if record.class() == Class::Auth {
            self.revoke_logins(&namespace.tenant, &record.path, now).await?;
        }
        namespace.finish_leaving(record).await
    }

    /// Takes back every lease below a path. All are tried; the first failure is answered.
    pub(crate) async fn revoke_prefix(&self, tenant: &TenantName, prefix: &str, now: Timestamp) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for key in self.leases_below(tenant, prefix).await? {
            outcome = outcome.and(self.revoke_lease(&key, now).await);
        }
        outcome
    }

    /// The leases of a tenant below a path: the one with this id, and all under it as a folder.
    pub(crate) async fn leases_below(&self, tenant: &TenantName, prefix: &str) -> Result<Vec<LeaseKey>, Refusal> {
        let root = LeaseKey { tenant: tenant.clone(), id: prefix.trim_end_matches('/').to_owned() };
        let mut keys: Vec<LeaseKey> = self.lease(&root).await?.map(|entry| entry.key).into_iter().collect();
        let folder = format!("{}/", root.path());
        let mut after: Option<String> = None;
        loop {
            let page = self.core.keys(&folder, after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { return Ok(keys) };
            keys.extend(page.iter().filter_map(|path| LeaseKey::at(path)));
            after = Some(last);
        }
    }

    /// Ends the tokens of everybody who logged in at an auth method.
    async fn revoke_logins(&self, tenant: &TenantName, path: &str, now: Timestamp) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let page = self.tokens.page(after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in page {
                let entry = self.tokens.get(&key).await?;
                if entry.is_some_and(|entry| entry.scope.tenant() == Some(tenant) && entry.path.starts_with(path)) {
                    self.revoke_token(&key, now).await?;
                }
            }
            after = Some(last);
        }
    }

    async fn mount(&self, tenant: &TenantName, uuid: &str) -> Result<Option<Arc<Mounted>>, Refusal> {
        Ok(self.namespace(tenant).await?.mount_by_uuid(uuid))
    }
}

fn of_token(token: &TokenKey, lease: &LeaseKey) -> String {
    let name = blake3::hash(lease.path().as_bytes()).to_hex();
    format!("lease-of/{}/{name}", token.0)
}

fn contended() -> Refusal {
    Refusal::Unavailable { what: "the lease is changed by many at the same time; try again".to_owned(), source: None }
}
