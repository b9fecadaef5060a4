//! Something happened in the object store.

use super::{Context, Decision, Rejection};
use crate::event::{
    Body, ContentDamaged, Notification, ObjectCreated, ObjectExpired, ObjectRemoved, ObjectTagged, ScrubCompleted,
    Subject, SubjectKind,
};
use crate::view::View;

/// Records what buckets' owners asked to be told of. What belongs to an instance that is gone meanwhile is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordObjects {
    pub notifications: Vec<(ObjectChange, Notification)>,
}

/// What can happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectChange {
    Created,
    Removed,
    Tagged,
    Expired,
}

/// Records the end of a scrub, and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordScrub {
    pub completed: ScrubCompleted,
    /// What was damaged, by its address.
    pub damaged: Vec<(String, ContentDamaged)>,
}

impl RecordObjects {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let event = |(change, notification): &(ObjectChange, Notification)| {
            let tenant = view.instance_by_id(&notification.instance)?.tenant.clone();
            let subject = format!("{}/{}", notification.bucket, notification.key);
            let notification = notification.clone();
            let body: Body = match change {
                ObjectChange::Created => ObjectCreated { notification }.into(),
                ObjectChange::Removed => ObjectRemoved { notification }.into(),
                ObjectChange::Tagged => ObjectTagged { notification }.into(),
                ObjectChange::Expired => ObjectExpired { notification }.into(),
            };
            Some(context.event(Some(tenant), Subject::new(SubjectKind::Object, &subject), body))
        };
        Ok(Decision::of(self.notifications.iter().filter_map(event).collect()))
    }
}

impl RecordScrub {
    pub(super) fn decide(&self, _: &View, context: &Context) -> Result<Decision, Rejection> {
        let damaged = self
            .damaged
            .iter()
            .map(|(address, damage)| context.event(None, Subject::new(SubjectKind::Content, address), damage.clone()));
        let store = Subject::new(SubjectKind::Content, &"all");
        let completed = context.event(None, store, self.completed.clone());
        Ok(Decision::of(damaged.chain([completed]).collect()))
    }
}
