//! What is said of a version changes, and its content does not.

use std::sync::Arc;

use mainstay_bucket::lock::may_change;
use mainstay_bucket::notification::EventKind;
use mainstay_bucket::{BucketName, LegalHold, ObjectKey, Retention, Tags, VersionId};

use super::Mutation;
use super::delete::by_id;
use crate::cache::Place;
use crate::error::Refusal;
use crate::stage::{Need, Stage, Stop, Told};
use crate::version::{Version, VersionEntry};

/// Changes an attribute of an object, or of a version of it.
pub(crate) struct Amend {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub id: Option<VersionId>,
    pub amendment: Amendment,
}

pub(crate) enum Amendment {
    Tags(Tags),
    Retention { retention: Option<Retention>, bypass: bool },
    LegalHold(LegalHold),
}

impl Mutation for Amend {
    type Answer = Arc<Version>;

    fn needs(&self, stage: &Stage) -> Vec<Need> {
        let need = stage.bucket(&self.bucket).map(|bucket| Need::Current((bucket.id, self.key.clone())));
        need.into_iter().collect()
    }

    fn decide(&self, stage: &mut Stage) -> Result<Arc<Version>, Stop> {
        let bucket = stage.open_bucket(&self.bucket)?;
        let place: Place = (bucket.id, self.key.clone());
        let current = stage.current(&place)?;
        let (version, is_current) = match (current, &self.id) {
            (Some(version), None) => (version, true),
            (Some(version), Some(id)) if version.id == *id => (version, true),
            (None, None) => return Err(Refusal::NoSuchKey { marker: None }.into()),
            (_, Some(id)) => match stage.entries(by_id(&place, id))?.first() {
                Some(VersionEntry::Version(version)) => (version.clone(), false),
                Some(VersionEntry::Marker { id, .. }) => return Err(Refusal::IsMarker { id: *id }.into()),
                None => return Err(Refusal::NoSuchVersion.into()),
            },
        };
        if bucket.settings.lock.is_none() && !matches!(self.amendment, Amendment::Tags(_)) {
            return Err(Refusal::NoLock.into());
        }
        let mut attributes = version.attributes.clone();
        let mut event = None;
        match &self.amendment {
            Amendment::Tags(tags) => {
                event = Some(if tags.is_empty() { EventKind::TaggingDelete } else { EventKind::TaggingPut });
                attributes.tags = tags.clone();
            }
            Amendment::Retention { retention, bypass } => {
                let held = attributes.retention.as_ref();
                may_change(held, retention.as_ref(), *bypass, stage.now).map_err(Refusal::from)?;
                attributes.retention = *retention;
            }
            Amendment::LegalHold(hold) => attributes.legal_hold = *hold,
        }

        let sequence = stage.next_sequence();
        let version = Arc::new(Version { attributes, ..Version::clone(&version) });
        if let Some(event) = event {
            stage.tell(&bucket, event, sequence, Told::of(&self.key, &version));
        }
        if is_current {
            stage.set_current(place, Some(version.clone()));
        } else {
            stage.put_entry(&place, VersionEntry::Version(version.clone()));
        }
        Ok(version)
    }
}
