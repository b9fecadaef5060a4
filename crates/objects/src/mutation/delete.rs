//! An object is hidden or goes, or a version of it goes.

use mainstay_bucket::lock::may_delete;
use mainstay_bucket::notification::EventKind;
use mainstay_bucket::{VersionId, Versioning};

use super::Mutation;
use super::succession::{Held, Succession, existing, new_id};
use crate::account::Bucket;
use crate::cache::{Known, Place};
use crate::error::Refusal;
use crate::request::{Delete, Deleted};
use crate::stage::{Need, Stage, Statistic, Stop, Told, sequence_of};
use crate::version::VersionEntry;

/// Deletes an object, or a version of one.
pub(crate) struct DeleteObject {
    pub delete: Delete,
    pub reason: Reason,
}

/// Who deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Request,
    /// A lifecycle rule, of the version with this sequence number only.
    Lifecycle(u64),
    /// The whole account goes, and what is locked with it.
    Purge,
}

impl Mutation for DeleteObject {
    type Answer = Deleted;

    fn needs(&self, stage: &Stage) -> Vec<Need> {
        let place = |bucket: &Bucket| (bucket.id, self.delete.key.clone());
        stage.bucket(&self.delete.bucket).map(|bucket| Need::Current(place(&bucket))).into_iter().collect()
    }

    fn decide(&self, stage: &mut Stage) -> Result<Deleted, Stop> {
        let bucket = stage.bucket(&self.delete.bucket)?;
        let place: Place = (bucket.id, self.delete.key.clone());
        let current = stage.current(&place)?;
        match &self.delete.version {
            None => self.delete_key(stage, &bucket, place, current),
            Some(id) => self.delete_version(stage, &bucket, place, current, id),
        }
    }
}

impl DeleteObject {
    fn delete_key(&self, stage: &mut Stage, bucket: &Bucket, place: Place, current: Known) -> Result<Deleted, Stop> {
        let conditions = &self.delete.conditions;
        conditions.check_delete(current.as_deref().map(existing).as_ref()).map_err(Refusal::from)?;
        let nothing = Deleted { version: None, marker: false };
        if let Reason::Lifecycle(sequence) = self.reason
            && current.as_ref().is_none_or(|version| version.sequence != sequence)
        {
            return Ok(nothing);
        }
        let unversioned = bucket.settings.versioning == Versioning::Unversioned;
        if unversioned && current.is_none() {
            return Ok(nothing);
        }
        let succession = Succession::of(stage, bucket, &place, current)?;
        let gone = succession.gone();
        let sequence = stage.next_sequence();
        succession.apply(stage, &place);
        stage.set_current(place.clone(), None);
        if unversioned {
            stage.count(bucket.id, Statistic::default(), gone);
            self.tell(stage, bucket, sequence, VersionId::Null, false);
            return Ok(nothing);
        }
        let id = new_id(bucket, sequence);
        let marker = VersionEntry::Marker { sequence, id, modified_at: stage.now };
        stage.count(bucket.id, Statistic::of_entry(&marker), gone);
        stage.put_entry(&place, marker);
        self.tell(stage, bucket, sequence, id, true);
        Ok(Deleted { version: Some(id), marker: true })
    }

    fn delete_version(
        &self,
        stage: &mut Stage,
        bucket: &Bucket,
        place: Place,
        current: Known,
        id: &VersionId,
    ) -> Result<Deleted, Stop> {
        let is_current = current.as_ref().is_some_and(|version| version.id == *id);
        let entry = match &current {
            Some(version) if is_current => Some(VersionEntry::Version(version.clone())),
            _ if bucket.settings.versioning == Versioning::Unversioned => None,
            _ => stage.entries(by_id(&place, id))?.first().cloned(),
        };
        let Some(entry) = entry else { return Ok(Deleted { version: Some(*id), marker: false }) };
        self.check(stage, &entry)?;
        let held = Held::by_entry(stage, &entry)?;
        // Where the newest goes that hid what is older, the next one shows, if it is no delete marker itself.
        let uncovers = (is_current || current.is_none()) && bucket.settings.versioning != Versioning::Unversioned;
        let next = if uncovers {
            let newest = stage.entries(Need::Newest(place.clone()))?;
            let covers = is_current || newest.first().is_some_and(|first| first.sequence() == entry.sequence());
            let behind = if is_current { newest.first() } else { newest.get(1) };
            match behind {
                Some(VersionEntry::Version(version)) if covers => Some(version.clone()),
                _ => None,
            }
        } else {
            None
        };

        let sequence = stage.next_sequence();
        if let Some(held) = held {
            held.release(stage);
        }
        stage.count(bucket.id, Statistic::default(), Statistic::of_entry(&entry));
        if !is_current {
            stage.remove_entry(&place, entry.sequence());
        }
        if let Some(version) = &next {
            stage.remove_entry(&place, version.sequence);
        }
        if is_current || next.is_some() {
            stage.set_current(place, next);
        }
        self.tell(stage, bucket, sequence, *id, false);
        Ok(Deleted { version: Some(*id), marker: matches!(entry, VersionEntry::Marker { .. }) })
    }

    /// Whether a version may go.
    fn check(&self, stage: &Stage, entry: &VersionEntry) -> Result<(), Stop> {
        if let Reason::Lifecycle(sequence) = self.reason
            && entry.sequence() != sequence
        {
            return Err(Refusal::NoSuchVersion.into());
        }
        let VersionEntry::Version(version) = entry else { return Ok(()) };
        self.delete.conditions.check_delete(Some(&existing(version))).map_err(Refusal::from)?;
        if self.reason != Reason::Purge {
            let attributes = &version.attributes;
            let bypass = self.delete.bypass_governance;
            may_delete(attributes.retention.as_ref(), attributes.legal_hold, bypass, stage.now)
                .map_err(Refusal::from)?;
        }
        Ok(())
    }

    fn tell(&self, stage: &mut Stage, bucket: &Bucket, sequence: u64, id: VersionId, marker: bool) {
        let event = match (self.reason, marker) {
            (Reason::Lifecycle(_), true) => EventKind::LifecycleDeleteMarkerCreated,
            (Reason::Lifecycle(_), false) => EventKind::LifecycleDelete,
            (Reason::Request, true) => EventKind::DeleteMarkerCreated,
            (Reason::Request, false) => EventKind::Delete,
            (Reason::Purge, _) => return,
        };
        stage.tell(bucket, event, sequence, Told::gone(&self.delete.key, id));
    }
}

/// The row of `versions` that an id names.
pub(super) fn by_id(place: &Place, id: &VersionId) -> Need {
    match id {
        VersionId::Null => Need::Null(place.clone()),
        VersionId::Numbered(number) => Need::Version(place.clone(), sequence_of(*number)),
    }
}
