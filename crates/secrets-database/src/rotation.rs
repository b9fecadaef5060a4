//! Static roles over time: made, rotated when they are due, removed. One at a time for each mount.

use std::sync::Arc;
use std::time::Duration;

use mainstay_secrets_engine::{Refusal, Storage};
use mainstay_types::{InstanceName, TenantName, Timestamp};
use tokio::sync::{Mutex, Notify};

use crate::databases::{Credential, Databases, NewCredential};
use crate::names::consumer;
use crate::records::{self, StaticRole};

/// The lease of a static role's binding: the longest that the layer gives. It is renewed long before it ends.
const LEASE_SECONDS: u64 = 366 * 24 * 3600;
/// How long a binding lasts whose record is not kept yet: what a crash leaves in between ends by itself.
const FIRST_LEASE_SECONDS: u64 = 600;
/// How often the lease is begun anew, beside rotations.
const RENEW_AFTER_SECONDS: u64 = 24 * 3600;
/// The longest time between two looks at what is due, should time itself be set back.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How soon what could not be rotated is tried again: as soon as Vault does.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What keeps the static roles of one mount.
pub(crate) struct Rotation {
    storage: Storage,
    databases: Arc<dyn Databases>,
    /// Held while a static role changes, so that no two rotations of one meet.
    changing: Mutex<()>,
    changed: Notify,
}

/// What a static role is made with.
pub(crate) struct Place {
    pub tenant: TenantName,
    pub db_name: String,
    pub rotation_period: u64,
}

impl Rotation {
    pub fn new(storage: Storage, databases: Arc<dyn Databases>) -> Self {
        Self { storage, databases, changing: Mutex::default(), changed: Notify::new() }
    }

    /// Rotates whatever is due at the moment it is due, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let wait = match self.rotate_due(Timestamp::now()).await {
                Ok(None) => LONGEST_SLEEP,
                Ok(Some(due)) => Duration::from_secs_f64(due.seconds_since(Timestamp::now()).max(0.0)),
                Err(error) => {
                    tracing::debug!(%error, "static roles can not be rotated now");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_SLEEP)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Rotates whatever is due; answers when the next one is. One that fails does not hold up the others, and its error is
    /// what comes back.
    pub async fn rotate_due(&self, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        let (mut next, mut failure) = (None, None);
        for name in records::names::<StaticRole>(&self.storage).await? {
            match self.up_to_date_or_fail(&name, now).await {
                Ok(Some(role)) => next = Some(next.map_or(role.due(), |next: Timestamp| next.min(role.due()))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(role = %name, %error, "a static role could not be rotated, and is tried again");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(next), Err)
    }

    /// The record of a static role, after its password was replaced if that was due and could be done.
    pub async fn up_to_date(&self, name: &str, now: Timestamp) -> Result<Option<StaticRole>, Refusal> {
        match self.up_to_date_or_fail(name, now).await {
            Ok(role) => Ok(role),
            Err(error) => {
                tracing::debug!(role = %name, %error, "a static role could not be rotated when it was read");
                self.find(name).await
            }
        }
    }

    /// Replaces a static role's password now; answers whether there is such a role.
    pub async fn rotate(&self, name: &str) -> Result<bool, Refusal> {
        let _changing = self.changing.lock().await;
        let Some(role) = self.find(name).await? else { return Ok(false) };
        self.replace(name, role).await?;
        self.changed.notify_one();
        Ok(true)
    }

    pub async fn create(
        &self,
        name: &str,
        place: Place,
        instance: InstanceName,
        rotation_statements: Vec<String>,
    ) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        if self.find(name).await?.is_some() {
            return Err(Refusal::Unavailable {
                what: format!("static role {name:?} is just being made"),
                source: None,
            });
        }
        let made = self.user(name, &place.tenant, &instance).await?;
        let now = Timestamp::now();
        let role = StaticRole {
            db_name: place.db_name,
            tenant: place.tenant,
            instance,
            binding: made.binding,
            username: made.username,
            rotation_period: place.rotation_period,
            rotation_statements,
            last_rotation: now,
            renewed_at: Timestamp::EPOCH,
        };
        self.keep(name, role).await.map(drop)
    }

    /// Changes what may be changed of a static role.
    pub async fn change(&self, name: &str, period: u64, statements: Option<Vec<String>>) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        let Some(mut role) = self.find(name).await? else { return Err(Refusal::NotFound) };
        role.rotation_period = period;
        role.rotation_statements = statements.unwrap_or(role.rotation_statements);
        records::put(&self.storage, name, &role).await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Removes a static role and its user, which was made for it. The record goes last, so that what could not be
    /// removed is not forgotten.
    pub async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        let Some(role) = self.find(name).await? else { return Ok(()) };
        self.databases.revoke(&role.tenant, &role.binding).await?;
        records::remove::<StaticRole>(&self.storage, name).await
    }

    async fn up_to_date_or_fail(&self, name: &str, now: Timestamp) -> Result<Option<StaticRole>, Refusal> {
        let fine = |role: &StaticRole| now < role.due() && now < role.renewed_at.plus_seconds(RENEW_AFTER_SECONDS);
        match self.find(name).await? {
            Some(role) if !fine(&role) => {}
            other => return Ok(other),
        }
        let _changing = self.changing.lock().await;
        // Whoever had the lock before may have done it.
        let Some(mut role) = self.find(name).await? else { return Ok(None) };
        if now >= role.due() {
            return self.replace(name, role).await.map(Some);
        }
        if !fine(&role) {
            match self.databases.renew(&role.tenant, &role.binding, LEASE_SECONDS).await {
                Err(Refusal::NotFound) => return self.make_again(name, role).await.map(Some),
                outcome => outcome?,
            }
            role.renewed_at = now;
            records::put(&self.storage, name, &role).await?;
        }
        Ok(Some(role))
    }

    async fn replace(&self, name: &str, mut role: StaticRole) -> Result<StaticRole, Refusal> {
        match self.databases.rotate(&role.tenant, &role.binding).await {
            Err(Refusal::NotFound) => return self.make_again(name, role).await,
            outcome => outcome?,
        }
        role.last_rotation = Timestamp::now();
        records::put(&self.storage, name, &role).await?;
        Ok(role)
    }

    /// Makes a new user for a static role whose binding somebody removed.
    async fn make_again(&self, name: &str, mut role: StaticRole) -> Result<StaticRole, Refusal> {
        let made = self.user(name, &role.tenant, &role.instance).await?;
        tracing::warn!(role = %name, gone = %role.binding, binding = %made.binding, "a static role has a new user");
        (role.binding, role.username) = (made.binding, made.username);
        (role.last_rotation, role.renewed_at) = (Timestamp::now(), Timestamp::EPOCH);
        self.keep(name, role).await
    }

    async fn user(&self, name: &str, tenant: &TenantName, instance: &InstanceName) -> Result<Credential, Refusal> {
        let wanted = NewCredential {
            tenant: tenant.clone(),
            instance: instance.clone(),
            consumer: consumer(name),
            lease_seconds: FIRST_LEASE_SECONDS,
            statements: None,
        };
        self.databases.create(wanted).await
    }

    /// Keeps the record of a user that was just made, and then the user. In between, the record says that the user's
    /// lease has to be renewed.
    async fn keep(&self, name: &str, mut role: StaticRole) -> Result<StaticRole, Refusal> {
        records::put(&self.storage, name, &role).await?;
        self.changed.notify_one();
        self.databases.renew(&role.tenant, &role.binding, LEASE_SECONDS).await?;
        role.renewed_at = Timestamp::now();
        records::put(&self.storage, name, &role).await?;
        Ok(role)
    }

    async fn find(&self, name: &str) -> Result<Option<StaticRole>, Refusal> {
        Ok(records::find::<StaticRole>(&self.storage, name).await?.map(|stored| stored.value))
    }
}
