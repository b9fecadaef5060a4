//! Leases while they last: keeping one for what was handed out, renewing it.

use std::sync::Arc;

use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Batch, Lease, Refusal};
use mainstay_types::{TenantName, Timestamp};

use crate::draw;
use crate::lease::agenda::Due;
use crate::lease::entry::{LeaseEntry, LeaseKey};
use crate::mount::Mounted;
use crate::open::Open;
use crate::token::Bearer;

/// How many letters make a lease's id its own, as Vault's.
const ID_LETTERS: usize = 24;

/// How often a change that met another one is tried again.
const ATTEMPTS: u32 = 16;

impl Open {
    /// Keeps a lease for what a backend has handed out.
    pub(crate) async fn grant(
        &self,
        tenant: &TenantName,
        path: &str,
        mounted: &Mounted,
        bearer: &Bearer,
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
        let path = path.trim_end_matches('/');
        let entry = LeaseEntry {
            key: LeaseKey { tenant: tenant.clone(), id: format!("{path}/{}", draw::letters(ID_LETTERS)?.as_str()) },
            mount: record.uuid.clone(),
            token: bearer.key.clone(),
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
        batch.put(&entry.of_token(), Expect::Absent, &entry.key);
        if let Err(error) = self.core.commit(batch).await {
            // Nobody will ever take back what has no lease, so it is taken back now.
            if let Err(refusal) = mounted.backend.revoke(&entry.internal, now).await {
                tracing::error!(%refusal, path, "what was handed out without a lease could not be taken back");
            }
            return Err(error.into());
        }
        self.agenda.put(entry.expires_at, Due::Lease(entry.key.clone()));
        if let Err(refusal) = self.check_still_granted(mounted, bearer, tenant, now).await {
            self.revoke_lease(&entry.key, now).await?;
            return Err(refusal);
        }
        Ok(entry)
    }

    /// Refuses a lease whose token or mount was taken away while it was made: whoever did that may have looked for
    /// leases before this one was there. Whoever does it later finds it.
    async fn check_still_granted(
        &self,
        mounted: &Mounted,
        bearer: &Bearer,
        tenant: &TenantName,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if bearer.is_used_up {
            return Err(Refusal::invalid(
                "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
            ));
        }
        if self.tokens.live(&bearer.key, now).await?.is_none() {
            return Err(Refusal::Denied);
        }
        let mount = self.mount(tenant, &mounted.record.uuid).await?;
        match mount.filter(|mount| !mount.record.leaving) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoHandler(mounted.record.path.clone())),
        }
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
            let reach = |max: u64| now.plus_seconds(wanted).min(entry.issued_at.plus_seconds(max)).max(now);
            let expires_at = reach(entry.max_ttl_seconds);
            let seconds = expires_at.seconds_since(now).round() as u64;
            let lease = mounted.backend.renew(entry.lease(), seconds, now).await?;
            // Its role may allow less by now.
            let max = if lease.max_ttl_seconds == 0 { entry.max_ttl_seconds } else { lease.max_ttl_seconds };
            entry.expires_at = expires_at.min(reach(max));
            entry.internal = lease.internal;
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

    /// Changes a lease; nothing is written where the change says false, and nothing is answered where it is gone.
    pub(super) async fn change_lease(
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

    /// A mount, wherever it is mounted by now.
    pub(super) async fn mount(&self, tenant: &TenantName, uuid: &str) -> Result<Option<Arc<Mounted>>, Refusal> {
        Ok(self.namespace(tenant).await?.mount_by_uuid(uuid))
    }
}

fn contended() -> Refusal {
    Refusal::Unavailable { what: "the lease is changed by many at the same time; try again".to_owned(), source: None }
}
