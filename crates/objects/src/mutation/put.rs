//! Content becomes an object.

use std::sync::Arc;

use mainstay_bucket::notification::EventKind;
use mainstay_bucket::{LegalHold, Retention};

use super::Mutation;
use super::succession::{Succession, existing, new_id};
use crate::account::Bucket;
use crate::cache::Place;
use crate::error::Refusal;
use crate::request::{CreatedBy, Pieces, Put};
use crate::stage::{Need, Stage, Statistic, Stop, Told};
use crate::version::{Attributes, Contents, Version};

/// Makes content the newest version of a key.
pub(crate) struct PutObject(pub Put);

impl Mutation for PutObject {
    type Answer = Arc<Version>;

    fn needs(&self, stage: &Stage) -> Vec<Need> {
        let Ok(bucket) = stage.bucket(&self.0.bucket) else { return Vec::new() };
        let mut needs = vec![Need::Current((bucket.id, self.0.key.clone()))];
        if let Pieces::Known(manifest) = &self.0.content.pieces {
            needs.extend(manifest.pieces.iter().map(|piece| Need::Content(piece.address)));
        }
        needs
    }

    fn decide(&self, stage: &mut Stage) -> Result<Arc<Version>, Stop> {
        let Self(put) = self;
        let bucket = stage.open_bucket(&put.bucket)?;
        let place: Place = (bucket.id, put.key.clone());
        let current = stage.current(&place)?;
        put.conditions.check_write(current.as_deref().map(existing).as_ref()).map_err(Refusal::from)?;
        check_lock(&bucket, put.attributes.retention.as_ref(), put.attributes.legal_hold)?;
        if let Pieces::Known(manifest) = &put.content.pieces {
            for piece in &manifest.pieces {
                if !stage.content_lives(piece.address)? {
                    return Err(Refusal::SourceGone.into());
                }
            }
        }
        let succession = Succession::of(stage, &bucket, &place, current)?;
        let new = Statistic { bytes: put.content.size as i64, objects: 1, ..Statistic::default() };
        stage.admit(&bucket, new, succession.gone())?;

        let sequence = stage.next_sequence();
        let content = match &put.content.pieces {
            Pieces::Fresh(piece, claim) => {
                stage.refer(piece, Some(*claim));
                Contents::One(piece.clone())
            }
            Pieces::Known(manifest) => {
                manifest.pieces.iter().for_each(|piece| stage.refer(piece, None));
                match manifest.pieces.as_slice() {
                    [piece] if manifest.parts.is_empty() => Contents::One(piece.clone()),
                    _ => {
                        stage.put_manifest(sequence, manifest.clone());
                        Contents::Many { manifest: sequence, upload: None, parts: manifest.parts.len() as u32 }
                    }
                }
            }
        };
        let attributes = with_default_retention(&bucket, put.attributes.clone(), stage);
        let version = Version {
            sequence,
            id: new_id(&bucket, sequence),
            modified_at: stage.now,
            size: put.content.size,
            content,
            attributes,
        };
        let event = match put.by {
            CreatedBy::Put => EventKind::Put,
            CreatedBy::Post => EventKind::Post,
            CreatedBy::Copy => EventKind::Copy,
        };
        Ok(place_version(stage, &bucket, place, succession, version, event))
    }

    fn stored(&mut self) {
        self.0.content.in_flight.referred();
    }
}

/// Makes a version the newest of its key.
pub(super) fn place_version(
    stage: &mut Stage,
    bucket: &Bucket,
    place: Place,
    succession: Succession,
    version: Version,
    event: EventKind,
) -> Arc<Version> {
    stage.count(bucket.id, Statistic::of_version(&version), succession.gone());
    succession.apply(stage, &place);
    stage.tell(bucket, event, version.sequence, Told::of(&place.1, &version));
    let version = Arc::new(version);
    stage.set_current(place, Some(version.clone()));
    version
}

/// Only buckets that were made for it take locks.
pub(super) fn check_lock(bucket: &Bucket, retention: Option<&Retention>, hold: LegalHold) -> Result<(), Refusal> {
    let asked = retention.is_some() || hold == LegalHold::On;
    if asked && bucket.settings.lock.is_none() { Err(Refusal::NoLock) } else { Ok(()) }
}

pub(super) fn with_default_retention(bucket: &Bucket, mut attributes: Attributes, stage: &Stage) -> Attributes {
    let default = bucket.settings.lock.as_ref().and_then(|lock| lock.default);
    attributes.retention = attributes.retention.or_else(|| default.map(|default| default.retention(stage.now)));
    attributes
}
