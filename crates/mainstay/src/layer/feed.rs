//! The journal as the feed of what happens to objects, and as the memory of scrubs.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use mainstay_control::Control;
use mainstay_domain::command::{Command, ObjectChange, RecordObjects, RecordScrub};
use mainstay_domain::event::{Actor, ContentDamaged, Notification, ScrubCompleted};
use mainstay_objects::{DamagedContent, Feed, FeedError, ObjectEvent, ScrubLog, ScrubReport};
use mainstay_types::Timestamp;

/// How many objects of one damaged content an event names: enough to see what it is, few enough for an event.
const OBJECTS_NAMED: usize = 20;

/// The control plane, once there is one: it is built on engines, and the object store is one of them.
#[derive(Default)]
pub(super) struct JournalFeed {
    control: RwLock<Option<Control>>,
}

/// The layer is starting, or stopping.
#[derive(Debug, thiserror::Error)]
#[error("the control plane is not there")]
struct NotThere;

// === impl JournalFeed ===

impl JournalFeed {
    /// Tells whom to tell.
    pub(super) fn connect(&self, control: Control) {
        *self.control.write().unwrap_or_else(PoisonError::into_inner) = Some(control);
    }

    /// Lets the control plane go, whose engines would otherwise hold on to it, and to the locks of their clusters with it.
    pub(super) fn disconnect(&self) {
        *self.control.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn control(&self) -> Option<Control> {
        self.control.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn submit(&self, command: impl Into<Command>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let control = self.control().ok_or(NotThere)?;
        control.submit(Actor::System, command).await?;
        Ok(())
    }
}

#[async_trait]
impl Feed for JournalFeed {
    async fn publish(&self, events: &[ObjectEvent]) -> Result<(), FeedError> {
        let notifications = events.iter().filter_map(|event| Some((change(&event.event)?, notification(event))));
        self.submit(RecordObjects { notifications: notifications.collect() }).await.map_err(FeedError)
    }
}

#[async_trait]
impl ScrubLog for JournalFeed {
    fn last(&self) -> Option<Timestamp> {
        self.control()?.view().scrubbed_at()
    }

    async fn record(&self, report: &ScrubReport) -> Result<(), Box<dyn Error + Send + Sync>> {
        let completed = ScrubCompleted {
            contents: report.contents,
            bytes: report.bytes,
            damaged: report.damaged.len().try_into().unwrap_or(u64::MAX),
        };
        let damaged = report.damaged.iter().map(|damaged| (damaged.address.to_string(), damage(damaged)));
        self.submit(RecordScrub { completed, damaged: damaged.collect() }).await
    }
}

/// The kind of change that an S3 event name tells of, such as `s3:ObjectCreated:Put`.
fn change(event: &str) -> Option<ObjectChange> {
    Some(match event.split(':').nth(1)? {
        "ObjectCreated" => ObjectChange::Created,
        "ObjectRemoved" => ObjectChange::Removed,
        "ObjectTagging" => ObjectChange::Tagged,
        "LifecycleExpiration" => ObjectChange::Expired,
        other => {
            tracing::error!(other, "an object's event is of a kind that the journal has no name for, and is not told");
            return None;
        }
    })
}

fn notification(event: &ObjectEvent) -> Notification {
    Notification {
        instance: event.account.clone(),
        event: event.event.clone(),
        configuration: event.configuration.clone(),
        bucket: event.bucket.to_string(),
        key: event.key.to_string(),
        version: event.version.as_ref().map(ToString::to_string),
        size: event.size,
        etag: event.etag.as_ref().map(ToString::to_string),
        occurred_at: event.occurred_at,
        sequencer: event.sequencer,
    }
}

fn damage(damaged: &DamagedContent) -> ContentDamaged {
    let instances: BTreeSet<_> = damaged.touches.iter().map(|touched| &touched.account).collect();
    let objects = damaged.touches.iter().map(|touched| format!("{}/{}", touched.bucket, touched.key));
    ContentDamaged {
        reason: damaged.reason.clone(),
        instances: instances.into_iter().cloned().collect(),
        objects: objects.take(OBJECTS_NAMED).collect(),
    }
}
