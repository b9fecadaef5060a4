//! What is done beside requests: expiry, collection, notifications.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use mainstay_bucket::lifecycle::{Candidate, Lifecycle, State};
use mainstay_bucket::{Conditions, ObjectKey, Tags, VersionId, Versioning};
use mainstay_dataplane::{Address, Claim, Deletion, Owner, Stored};
use mainstay_storage::Statement;
use mainstay_types::Timestamp;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::account::Bucket;
use crate::error::{Error, IndexError};
use crate::feed::ObjectEvent;
use crate::fetch;
use crate::mutation::{AbortUpload, Collect, DeleteObject, FindUnknown, Reason};
use crate::objects::Objects;
use crate::request::{Delete, ListQuery, ListedVersion, UploadRef, UploadsQuery, VersionsQuery};
use crate::stage::integer;
use crate::stored;
use crate::version::VersionEntry;

/// How often unused content is collected. It was unused for the time of grace already, which is longer.
const COLLECT_EVERY: Duration = Duration::from_secs(60);

/// How often lifecycle rules are carried out. They count days.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// How often content is searched that the index never knew, which only crashes and broken requests leave behind.
const SEARCH_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long notifications wait that could not be told, before they are told again.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// Rows that are looked at together.
const PAGE: usize = 1000;

/// Changes that are asked for at the same time: enough to share the writer's fsyncs, and few beside those of requests.
const AT_ONCE: usize = 64;

/// Contents that are forgotten with one change.
const COLLECTED_AT_ONCE: usize = 250;

/// What was done in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Versions and delete markers that lifecycle rules removed, or objects that they hid.
    pub expired: u64,
    pub aborted_uploads: u64,
    /// Contents that nothing referred to any more.
    pub collected: u64,
    /// Contents that nothing ever referred to.
    pub orphans: u64,
    /// Bytes that were given back to the file system.
    pub reclaimed: u64,
    pub published: u64,
}

impl Objects {
    /// Does whatever is due: expires objects and uploads, collects content, tells notifications.
    pub async fn keep(&self, now: Timestamp) -> Result<Kept, Error> {
        let mut kept = Kept::default();
        self.expire(now, &mut kept).await?;
        kept.collected = self.collect(now).await?;
        kept.orphans = self.give_up_refused().await? + self.search(now).await?;
        kept.reclaimed = self.reclaim().await;
        kept.published = self.publish().await?;
        Ok(kept)
    }

    /// Keeps the object store in order for as long as it is polled. It can be dropped at any time.
    pub async fn keep_on(&self) {
        tokio::join!(self.tell_on(), self.tidy_on(), self.give_up_on(), self.search_on());
    }

    /// Tells notifications. Nothing else that is kept in order makes them wait.
    async fn tell_on(&self) {
        loop {
            match self.publish().await {
                Ok(_) => self.inner.outbox.notified().await,
                Err(error) => {
                    warn(&error);
                    sleep(TELL_AGAIN).await;
                }
            }
        }
    }

    async fn tidy_on(&self) {
        let (mut collect, mut expire) = (every(COLLECT_EVERY), every(EXPIRE_EVERY));
        loop {
            let done = tokio::select! {
                _ = collect.tick() => self.collect(Timestamp::now()).await.map(drop),
                _ = expire.tick() => self.expire(Timestamp::now(), &mut Kept::default()).await,
            };
            done.unwrap_or_else(|error| warn(&error));
        }
    }

    /// Gives up content that was refused, soon after it was.
    async fn give_up_on(&self) {
        loop {
            self.inner.in_flight.refused().await;
            // Where it cannot be done now, the search finds the content.
            self.give_up_refused().await.map_or_else(|error| warn(&error), drop);
        }
    }

    /// Searches content, and gives back the room of what is gone: much to read and to move.
    async fn search_on(&self) {
        let mut search = every(SEARCH_EVERY);
        loop {
            search.tick().await;
            match self.search(Timestamp::now()).await {
                Ok(_) => drop(self.reclaim().await),
                Err(error) => warn(&error),
            }
        }
    }

    /// Carries out lifecycle rules. What goes wrong in one bucket keeps no other from it.
    async fn expire(&self, now: Timestamp, kept: &mut Kept) -> Result<(), Error> {
        let mut done = Ok(());
        for bucket in self.inner.directory().buckets() {
            let Some(lifecycle) = &bucket.settings.lifecycle else { continue };
            if let Err(error) = self.expire_in(bucket, lifecycle, now, kept).await {
                tracing::warn!(bucket = %bucket.name, %error, "lifecycle rules of a bucket were not carried out in full");
                done = Err(error);
            }
        }
        done
    }

    async fn expire_in(
        &self,
        bucket: &Bucket,
        lifecycle: &Lifecycle,
        now: Timestamp,
        kept: &mut Kept,
    ) -> Result<(), Error> {
        kept.expired += match bucket.settings.versioning {
            Versioning::Unversioned => self.expire_objects(bucket, lifecycle, now).await?,
            Versioning::Enabled | Versioning::Suspended => self.expire_versions(bucket, lifecycle, now).await?,
        };
        kept.aborted_uploads += self.expire_uploads(bucket, lifecycle, now).await?;
        Ok(())
    }

    async fn expire_objects(&self, bucket: &Bucket, lifecycle: &Lifecycle, now: Timestamp) -> Result<u64, Error> {
        let mut expired = 0;
        let mut query = ListQuery { limit: PAGE, ..ListQuery::default() };
        loop {
            let page = self.inner.list(bucket, &query).await?;
            let due = page.objects.iter().filter_map(|(key, version)| {
                let (size, tags) = (version.size, &version.attributes.tags);
                let candidate = Candidate { key, size, tags, modified: version.modified_at, state: State::Current };
                lifecycle.due(&candidate, now)?;
                Some(deletion(bucket, key, None, version.sequence))
            });
            expired += self.delete_all(due.collect()).await?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(expired),
            }
        }
    }

    async fn expire_versions(&self, bucket: &Bucket, lifecycle: &Lifecycle, now: Timestamp) -> Result<u64, Error> {
        let mut expired = 0;
        let mut succession = Succession::default();
        let mut query = VersionsQuery { limit: PAGE, ..VersionsQuery::default() };
        loop {
            let page = self.inner.list_versions(bucket, &query).await?;
            let last = page.next.is_none();
            let mut due = Vec::new();
            let entries = page.entries.into_iter().map(Some).chain(last.then_some(None));
            for entry in entries {
                due.extend(succession.next(bucket, lifecycle, now, entry));
            }
            expired += self.delete_all(due).await?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(expired),
            }
        }
    }

    async fn expire_uploads(&self, bucket: &Bucket, lifecycle: &Lifecycle, now: Timestamp) -> Result<u64, Error> {
        let mut aborted = 0;
        let mut query = UploadsQuery { limit: PAGE, ..UploadsQuery::default() };
        loop {
            let page = self.inner.uploads(bucket, &query).await?;
            let due = |upload: &&crate::request::Upload| {
                lifecycle.upload_end(&upload.key, upload.created_at).is_some_and(|end| end.at <= now)
            };
            let due: Vec<_> = page.uploads.iter().filter(due).map(|upload| named(bucket, upload)).collect();
            aborted += self.all(due.into_iter().map(AbortUpload).collect()).await?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(aborted),
            }
        }
    }

    /// Removes everything from a bucket, whatever protects it.
    pub(crate) async fn empty(&self, bucket: &Bucket) -> Result<(), Error> {
        loop {
            let query = VersionsQuery { limit: PAGE, ..VersionsQuery::default() };
            let page = self.inner.list_versions(bucket, &query).await?;
            if page.entries.is_empty() {
                return self.abort_all(bucket).await;
            }
            let purge = |listed: ListedVersion| {
                let delete = delete(bucket, &listed.key, Some(listed.entry.id()));
                DeleteObject { delete, reason: Reason::Purge }
            };
            self.all(page.entries.into_iter().map(purge).collect()).await?;
        }
    }

    /// Gives up all uploads to a bucket.
    pub(crate) async fn abort_all(&self, bucket: &Bucket) -> Result<(), Error> {
        loop {
            let query = UploadsQuery { limit: PAGE, ..UploadsQuery::default() };
            let page = self.inner.uploads(bucket, &query).await?;
            if page.uploads.is_empty() {
                return Ok(());
            }
            self.all(page.uploads.iter().map(|upload| AbortUpload(named(bucket, upload))).collect()).await?;
        }
    }

    /// Forgets content that has been unused for the time of grace, and gives it up.
    async fn collect(&self, now: Timestamp) -> Result<u64, Error> {
        let unused_before = self.settled_before(now);
        let mut collected = 0;
        loop {
            let sql = "SELECT address FROM contents WHERE unused_since IS NOT NULL AND unused_since < $1 \
                       ORDER BY unused_since LIMIT $2";
            let asked = [unused_before.as_micros().into(), integer(COLLECTED_AT_ONCE as u64)];
            let rows = self.inner.store.read(Statement::new(sql, asked)).await?;
            let candidates = rows.iter().map(|row| fetch::address(row.blob(0)?)).collect::<Result<Vec<_>, _>>()?;
            let forgotten = self.submit(Collect { candidates, unused_before }).await?;
            if forgotten.is_empty() {
                return Ok(collected);
            }
            collected += forgotten.len() as u64;
            self.give_up(forgotten).await;
        }
    }

    /// Gives up content that came in and was refused afterwards, without waiting for the time of grace: nobody has it in hand.
    async fn give_up_refused(&self) -> Result<u64, Error> {
        let mut gone = 0;
        loop {
            let refused = self.inner.in_flight.take_refused(COLLECTED_AT_ONCE);
            if refused.is_empty() {
                return Ok(gone);
            }
            // The same content can belong to somebody else.
            let unknown = self.submit(FindUnknown(refused)).await?;
            gone += self.give_up(unknown).await;
        }
    }

    /// Gives up content that nothing ever referred to.
    async fn search(&self, now: Timestamp) -> Result<u64, Error> {
        let claimed_before = self.settled_before(now);
        let (mut found, mut after) = (0, None);
        loop {
            let page = match self.inner.inventory.contents(Owner::Objects, after, PAGE).await {
                Ok(page) => page,
                Err(trouble) => {
                    tracing::warn!(%trouble, "content that nothing refers to could not be searched; it is tried again");
                    return Ok(found);
                }
            };
            let settled: Vec<&Stored> = page.iter().filter(|stored| stored.claimed_at < claimed_before).collect();
            let addresses: Vec<Address> = settled.iter().map(|stored| stored.address).collect();
            let known = fetch::known(&self.inner.store, &addresses).await?;
            let orphans = settled.iter().filter(|stored| !known.contains(&stored.address));
            found += self.give_up(orphans.map(|stored| (stored.address, stored.claim)).collect()).await;
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.address),
                _ => return Ok(found),
            }
        }
    }

    /// What became unused, or was claimed, before this moment belongs to nobody who is still about to refer to it.
    fn settled_before(&self, now: Timestamp) -> Timestamp {
        let grace = i64::try_from(self.inner.config.grace.as_micros()).unwrap_or(i64::MAX);
        let graced = Timestamp::from_micros(now.as_micros().saturating_sub(grace));
        self.inner.in_flight.oldest().map_or(graced, |oldest| oldest.min(graced))
    }

    /// Gives claims up. Where the data plane does not answer, the next search finds the content.
    async fn give_up(&self, claims: Vec<(Address, Claim)>) -> u64 {
        let plane = &self.inner.plane;
        let deletions = stream::iter(claims).map(|(address, claim)| async move {
            let request = mainstay_dataplane::Delete { owner: Owner::Objects, address, claim };
            match plane.delete_object(request).await {
                Ok(Deletion::Deleted) => 1,
                Ok(Deletion::Absent | Deletion::Superseded | Deletion::Kept) => 0,
                Err(error) => {
                    tracing::warn!(%address, %error, "unused content was not given up; it is tried again");
                    0
                }
            }
        });
        deletions.buffer_unordered(AT_ONCE).fold(0, |sum, deleted| async move { sum + deleted }).await
    }

    async fn reclaim(&self) -> u64 {
        self.inner.inventory.reclaim().await.unwrap_or_else(|trouble| {
            tracing::warn!(%trouble, "room of content that is gone was not given back; it is tried again");
            0
        })
    }

    /// Tells what is in the outbox.
    async fn publish(&self) -> Result<u64, Error> {
        let mut published = 0;
        loop {
            let sql = "SELECT sequence, number, event FROM outbox ORDER BY sequence, number LIMIT $1";
            let rows = self.inner.store.read(Statement::new(sql, [integer(PAGE as u64)])).await?;
            let Some(last) = rows.last() else { return Ok(published) };
            let (sequence, number) = (last.integer(0)?, last.integer(1)?);
            let events: Vec<ObjectEvent> =
                rows.iter().map(|row| Ok(stored::decode(row.blob(2)?)?)).collect::<Result<_, IndexError>>()?;
            if let Err(error) = self.inner.feed.publish(&events).await {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "notifications of objects wait");
                return Err(IndexError::Feed(Arc::new(error)).into());
            }
            published += events.len() as u64;
            let told = "DELETE FROM outbox WHERE sequence < $1 OR (sequence = $1 AND number <= $2)";
            let told = Statement::new(told, [sequence.into(), number.into()]);
            self.inner.store.write(vec![told]).await.map_err(IndexError::from)?;
        }
    }

    async fn delete_all(&self, due: Vec<DeleteObject>) -> Result<u64, Error> {
        self.all(due).await
    }

    /// Carries changes out beside one another, and counts those that the rules did not refuse.
    async fn all<M: crate::mutation::Mutation>(&self, changes: Vec<M>) -> Result<u64, Error> {
        let mut results = stream::iter(changes).map(|change| self.submit(change)).buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => done += 1,
                // It was changed or went meanwhile, or is locked.
                Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// The next tick comes a whole period after a round that took longer than one.
fn every(period: Duration) -> Interval {
    let mut every = interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

fn warn(error: &Error) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, source, "the object store could not be kept in order; it is tried again");
}

/// The versions of a key, the newest first, as rules see them: each knows of the one before it, and a delete marker
/// whether one comes behind it.
#[derive(Default)]
struct Succession {
    key: Option<ObjectKey>,
    /// When the version before this one came, which made this one noncurrent.
    newer_at: Option<Timestamp>,
    noncurrent: u32,
    /// A delete marker that is the newest of its key.
    marker: Option<ListedVersion>,
}

impl Succession {
    /// Takes the next entry of a listing, or its end, and says what is due of this one and the one before.
    fn next(
        &mut self,
        bucket: &Bucket,
        lifecycle: &Lifecycle,
        now: Timestamp,
        entry: Option<ListedVersion>,
    ) -> Vec<DeleteObject> {
        let same_key = entry.as_ref().is_some_and(|entry| self.key.as_ref() == Some(&entry.key));
        let mut due = Vec::new();
        if let Some(marker) = self.marker.take()
            && is_due(lifecycle, &marker, State::DeleteMarker { alone: !same_key }, now)
        {
            due.push(deletion(bucket, &marker.key, Some(marker.entry.id()), marker.entry.sequence()));
        }
        let Some(entry) = entry else { return due };
        if !same_key {
            *self = Self { key: Some(entry.key.clone()), ..Self::default() };
        }
        let since = self.newer_at.replace(entry.entry.modified_at());
        match (since, &entry.entry) {
            (None, VersionEntry::Version(version)) => {
                if is_due(lifecycle, &entry, State::Current, now) {
                    due.push(deletion(bucket, &entry.key, None, version.sequence));
                }
            }
            (None, VersionEntry::Marker { .. }) => self.marker = Some(entry),
            (Some(since), _) => {
                if is_due(lifecycle, &entry, State::Noncurrent { since, newer: self.noncurrent }, now) {
                    due.push(deletion(bucket, &entry.key, Some(entry.entry.id()), entry.entry.sequence()));
                }
                self.noncurrent += 1;
            }
        }
        due
    }
}

fn is_due(lifecycle: &Lifecycle, listed: &ListedVersion, state: State, now: Timestamp) -> bool {
    let no_tags = Tags::default();
    let (size, tags) = match &listed.entry {
        VersionEntry::Version(version) => (version.size, &version.attributes.tags),
        VersionEntry::Marker { .. } => (0, &no_tags),
    };
    let modified = listed.entry.modified_at();
    lifecycle.due(&Candidate { key: &listed.key, size, tags, modified, state }, now).is_some()
}

impl VersionEntry {
    fn modified_at(&self) -> Timestamp {
        match self {
            Self::Version(version) => version.modified_at,
            Self::Marker { modified_at, .. } => *modified_at,
        }
    }
}

fn deletion(bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>, sequence: u64) -> DeleteObject {
    DeleteObject { delete: delete(bucket, key, version), reason: Reason::Lifecycle(sequence) }
}

fn delete(bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Delete {
    Delete {
        bucket: bucket.name.clone(),
        key: key.clone(),
        version,
        conditions: Conditions::default(),
        bypass_governance: false,
    }
}

fn named(bucket: &Bucket, upload: &crate::request::Upload) -> UploadRef {
    UploadRef { bucket: bucket.name.clone(), key: upload.key.clone(), id: upload.id }
}
