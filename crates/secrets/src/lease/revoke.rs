//! Taking back what was handed out: leases, and tokens with all that hangs on them.
//!
//! Whatever is to go is marked on disk first. From then on it works for nobody, and the keeper finds it: where a
//! revocation is interrupted, or its engine does not answer, it is gone on with until all is gone.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use mainstay_custody::Expect;
use mainstay_secrets_engine::{Batch, Class, Refusal};
use mainstay_types::{TenantName, Timestamp};
use tokio::time::timeout;

use crate::lease::agenda::Due;
use crate::lease::entry::{LeaseEntry, LeaseKey};
use crate::lease::rest::wait_seconds;
use crate::mount::{MountRecord, Namespace};
use crate::open::Open;
use crate::token::{TokenEntry, TokenKey, TokenKind};

/// How many children, leases and entries are worked through at once.
pub(super) const PAGE: usize = 256;

/// How much is taken back at the same time: enough for a fast engine, little enough for a slow one.
pub(super) const AT_ONCE: usize = 16;

/// How long one try to take a lease back may take. An engine that knows its own bounds, of 30 s at most, says sooner and
/// better what is wrong; one that hangs is tried again.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(40);

/// How long a client waits for many leases at once. What is left then is the keeper's.
const PATIENCE: Duration = Duration::from_secs(10);

/// When the keeper looks at what somebody else is just revoking: later than any single try takes.
const KEEPER_LOOKS_SECONDS: u64 = 60;

impl Open {
    /// Takes a lease back. From the moment that this returns, whatever it says, the lease is on record as one that is
    /// to be taken back; an error says why it could not be yet, and it is tried again.
    pub(crate) async fn revoke_lease(&self, key: &LeaseKey, now: Timestamp) -> Result<(), Refusal> {
        let Some(entry) = self.mark_lease(key, now).await? else { return Ok(()) };
        let outcome = self.take_back(&entry, now).await;
        match outcome {
            Ok(()) => {
                self.rests.end(&entry.mount);
                self.forget_lease(&entry).await
            }
            Err(refusal) => {
                if let Refusal::Unavailable { .. } = refusal {
                    self.rests.begin(&entry.mount, now);
                }
                let failures = self.note_failure(key, &refusal).await?;
                self.agenda.put(now.plus_seconds(wait_seconds(failures)), Due::Lease(key.clone()));
                Err(refusal)
            }
        }
    }

    /// Takes leases back: all are on record before this returns, and those whose engine is slow are the keeper's. The
    /// first failure is answered.
    pub(crate) async fn revoke_leases(&self, keys: &[LeaseKey], now: Timestamp) -> Result<(), Refusal> {
        for some in keys.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|key| self.mark_lease(key, now))).await?;
        }
        let all = async {
            let mut outcome = Ok(());
            for some in keys.chunks(AT_ONCE) {
                let revoked = join_all(some.iter().map(|key| self.revoke_lease(key, now))).await;
                outcome = revoked.into_iter().fold(outcome, Result::and);
            }
            outcome
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| {
            for key in keys {
                self.agenda.put(now, Due::Lease(key.clone()));
            }
            let what = format!("{} leases are marked and are being taken back", keys.len());
            Err(Refusal::Unavailable { what, source: None })
        })
    }

    /// Removes leases from the record whether or not their credentials are gone: for an engine that will never come back.
    pub(crate) async fn abandon_leases(&self, keys: &[LeaseKey], now: Timestamp) -> Result<(), Refusal> {
        let Err(refusal) = self.revoke_leases(keys, now).await else { return Ok(()) };
        for key in keys {
            if let Some(entry) = self.lease(key).await? {
                tracing::warn!(lease = key.id, %refusal, "a lease is given up, and what it stands for may still work");
                self.forget_lease(&entry).await?;
            }
        }
        Ok(())
    }

    /// Revokes a token: it is refused from now on, and what hangs on it is taken back, children first.
    pub(crate) async fn revoke_token(&self, key: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        // An explicit stack: a chain of tokens may be longer than a thread's.
        let mut stack = vec![key.clone()];
        while let Some(key) = stack.last().cloned() {
            let entry = self.mark_token(&key, now).await?;
            let children = self.tokens.children(&key, PAGE).await?;
            if !children.is_empty() {
                stack.extend(children);
                continue;
            }
            stack.pop();
            self.end_leases_of(&key, now).await?;
            self.clear_cubbyhole(&key).await?;
            if let Some(entry) = entry.filter(|entry| entry.kind != TokenKind::Layer) {
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

    /// Tokens of the native API end without a word to anybody here; what they have left is taken back when it is seen.
    pub(crate) async fn end_what_layer_tokens_left(&self, now: Timestamp) -> Result<(), Refusal> {
        let mut ended = self.tokens.ended_layer_parents().await?;
        for folder in ["lease-of/", "cubbyhole/"] {
            let names = self.core.list(&format!("{folder}{}", TokenKey::LAYER)).await?;
            ended.extend(self.tokens.ended_layer(&names));
        }
        for key in ended {
            self.revoke_token(&key, now).await?;
        }
        Ok(())
    }

    /// Takes back all that a mount has handed out, and then removes it. Where something cannot be taken back the mount
    /// stays as it is, serving nothing, until it can.
    pub(crate) async fn leave(
        &self,
        namespace: &Namespace,
        record: &MountRecord,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.revoke_prefix(&namespace.tenant, &record.path, now).await?;
        if record.class() == Class::Auth {
            self.revoke_logins(&namespace.tenant, &record.path, now).await?;
        }
        namespace.finish_leaving(record).await
    }

    /// Takes back every lease below a path.
    pub(crate) async fn revoke_prefix(&self, tenant: &TenantName, prefix: &str, now: Timestamp) -> Result<(), Refusal> {
        let keys = self.leases_below(tenant, prefix).await?;
        self.revoke_leases(&keys, now).await
    }

    /// The leases of a tenant below a path: the one with this id, and all under it as a folder. Those of no path are all.
    pub(crate) async fn leases_below(&self, tenant: &TenantName, prefix: &str) -> Result<Vec<LeaseKey>, Refusal> {
        let root = LeaseKey { tenant: tenant.clone(), id: prefix.trim_matches('/').to_owned() };
        let mut keys = Vec::new();
        let mut folder = root.path();
        if !root.id.is_empty() {
            keys.extend(self.lease(&root).await?.map(|entry| entry.key));
            folder.push('/');
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.core.keys(&folder, after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { return Ok(keys) };
            keys.extend(page.iter().filter_map(|path| LeaseKey::at(path)));
            after = Some(last);
        }
    }

    async fn take_back(&self, entry: &LeaseEntry, now: Timestamp) -> Result<(), Refusal> {
        let Some(mounted) = self.mount(&entry.key.tenant, &entry.mount).await? else {
            // A mount goes only once nothing of its is out.
            tracing::error!(
                lease = entry.key.id,
                "the mount of a lease is gone, and what it stands for may still work"
            );
            return Ok(());
        };
        match timeout(REVOKE_TIMEOUT, mounted.backend.revoke(&entry.internal, now)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Unavailable { what: "the engine did not answer in time".to_owned(), source: None }),
        }
    }

    /// Marks a lease as one that is to go; nothing where there is none any more.
    async fn mark_lease(&self, key: &LeaseKey, now: Timestamp) -> Result<Option<LeaseEntry>, Refusal> {
        let mut is_new = false;
        let mark = |entry: &mut LeaseEntry| {
            is_new = !std::mem::replace(&mut entry.revoking, true);
            is_new
        };
        let marked = self.change_lease(key, mark).await?;
        if is_new {
            self.agenda.put(now.plus_seconds(KEEPER_LOOKS_SECONDS), Due::Lease(key.clone()));
        }
        Ok(marked)
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

    async fn forget_lease(&self, entry: &LeaseEntry) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.delete(&entry.key.path(), Expect::Anything);
        batch.delete(&entry.of_token(), Expect::Anything);
        Ok(self.core.commit(batch).await?)
    }

    /// Marks a token as one that is to go; nothing where there is none any more. One of the native API is the journal's
    /// to end, and is ended at once: what it leaves is found by that.
    async fn mark_token(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Arc<TokenEntry>>, Refusal> {
        let Some(entry) = self.tokens.get(key).await? else { return Ok(None) };
        if entry.kind == TokenKind::Layer {
            self.tokens.revoke_layer(&entry).await?;
            return Ok(Some(entry));
        }
        let mut is_new = false;
        let mark = |entry: &mut TokenEntry| {
            is_new = !std::mem::replace(&mut entry.revoking, true);
            is_new
        };
        let marked = self.tokens.change(key, mark).await?;
        if is_new {
            self.agenda.put(now.plus_seconds(KEEPER_LOOKS_SECONDS), Due::Token(key.clone()));
        }
        Ok(marked)
    }

    /// Takes back the leases of a token. What its engine does not take back now stays on record and is tried again,
    /// which does not keep the token.
    async fn end_leases_of(&self, token: &TokenKey, now: Timestamp) -> Result<(), Refusal> {
        let folder = format!("lease-of/{}/", token.0);
        let mut keys = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.core.keys(&folder, after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for path in &page {
                let Some(key) = self.core.value::<LeaseKey>(path).await? else { continue };
                if self.mark_lease(&key, now).await?.is_some() {
                    keys.push(key);
                }
            }
            after = Some(last);
        }
        if let Err(refusal) = self.revoke_leases(&keys, now).await {
            tracing::warn!(%refusal, leases = keys.len(), "leases could not be taken back, and are tried again");
        }
        Ok(())
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
}
