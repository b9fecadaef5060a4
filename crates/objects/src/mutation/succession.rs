//! What becomes of a key's versions when a new one comes or one goes.

use std::sync::Arc;

use mainstay_bucket::conditions::Existing;
use mainstay_bucket::{VersionId, Versioning};

use crate::account::Bucket;
use crate::cache::{Known, Place};
use crate::stage::{Need, Stage, Statistic, Stop, numbered};
use crate::version::{Contents, Piece, Version, VersionEntry};

/// What a new version, or a delete marker, takes the place of.
pub(super) struct Succession {
    /// The version that was the newest and is kept behind the new one.
    kept: Option<Arc<Version>>,
    /// The version that was the newest and goes.
    dropped: Option<Held>,
    /// The null version that was not the newest, and goes.
    dropped_entry: Option<(u64, Option<Held>)>,
    gone: Statistic,
}

/// The contents that a version refers to.
pub(super) struct Held {
    manifest: Option<u64>,
    pieces: Vec<Piece>,
}

impl Succession {
    /// Looks what goes and what stays.
    pub fn of(stage: &Stage, bucket: &Bucket, place: &Place, current: Known) -> Result<Self, Stop> {
        let mut succession = Self { kept: None, dropped: None, dropped_entry: None, gone: Statistic::default() };
        let replaces_null = bucket.settings.versioning != Versioning::Enabled;
        match current {
            Some(version) if replaces_null && version.id == VersionId::Null => {
                succession.gone = Statistic::of_version(&version);
                succession.dropped = Some(Held::by(stage, &version)?);
                return Ok(succession);
            }
            current => succession.kept = current,
        }
        if bucket.settings.versioning == Versioning::Suspended
            && let Some(entry) = stage.entries(Need::Null(place.clone()))?.first()
        {
            succession.gone = Statistic::of_entry(entry);
            succession.dropped_entry = Some((entry.sequence(), Held::by_entry(stage, entry)?));
        }
        Ok(succession)
    }

    /// What is counted no more.
    pub fn gone(&self) -> Statistic {
        self.gone
    }

    /// Carries it out.
    pub fn apply(self, stage: &mut Stage, place: &Place) {
        if let Some(version) = self.kept {
            stage.put_entry(place, VersionEntry::Version(version));
        }
        if let Some(held) = self.dropped {
            held.release(stage);
        }
        if let Some((sequence, held)) = self.dropped_entry {
            stage.remove_entry(place, sequence);
            if let Some(held) = held {
                held.release(stage);
            }
        }
    }
}

impl Held {
    pub fn by(stage: &Stage, version: &Version) -> Result<Self, Stop> {
        Ok(match &version.content {
            Contents::One(piece) => Self { manifest: None, pieces: vec![piece.clone()] },
            Contents::Many { manifest, .. } => {
                Self { manifest: Some(*manifest), pieces: stage.manifest(*manifest)?.pieces.clone() }
            }
        })
    }

    pub fn by_entry(stage: &Stage, entry: &VersionEntry) -> Result<Option<Self>, Stop> {
        match entry {
            VersionEntry::Version(version) => Self::by(stage, version).map(Some),
            VersionEntry::Marker { .. } => Ok(None),
        }
    }

    pub fn release(self, stage: &mut Stage) {
        self.pieces.iter().for_each(|piece| stage.release(piece));
        if let Some(manifest) = self.manifest {
            stage.remove_manifest(manifest);
        }
    }
}

/// The id of a version, or marker, that is made now.
pub(super) fn new_id(bucket: &Bucket, sequence: u64) -> VersionId {
    match bucket.settings.versioning {
        Versioning::Enabled => numbered(sequence),
        Versioning::Unversioned | Versioning::Suspended => VersionId::Null,
    }
}

/// A version as conditions see it.
pub(super) fn existing(version: &Version) -> Existing {
    Existing { etag: version.attributes.etag, modified: version.modified_at, size: version.size }
}
