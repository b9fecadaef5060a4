//! What decisions change.

use std::sync::Arc;

use mainstay_bucket::notification::EventKind;
use mainstay_bucket::{ETag, ObjectKey, VersionId, VersionNumber, Versioning};
use mainstay_dataplane::{Address, Claim};
use mainstay_types::Timestamp;

use super::{DirectoryChange, Referred, Stage, UploadRow};
use crate::account::{Bucket, BucketId, Usage};
use crate::cache::{Known, Place};
use crate::directory::Directory;
use crate::feed::ObjectEvent;
use crate::stored::StoredPart;
use crate::version::{Manifest, Piece, Version, VersionEntry};

/// What something adds to a bucket's usage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Statistic {
    pub bytes: i64,
    pub objects: i64,
    pub markers: i64,
    pub uploading_bytes: i64,
    pub uploads: i64,
}

/// What an event tells of the version that it is about.
pub(crate) struct Told<'a> {
    pub key: &'a ObjectKey,
    pub version: Option<VersionId>,
    pub size: Option<u64>,
    pub etag: Option<ETag>,
}

impl Stage {
    /// The number of a new change. It follows the clock, so that the ids of versions made of it tell their time.
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence = (self.sequence + 1).max(self.now.as_micros().max(0) as u64);
        self.sequence
    }

    pub fn set_current(&mut self, place: Place, known: Known) {
        self.changed.current.insert(place, known);
    }

    /// Puts an older version or a delete marker beside the newest one.
    pub fn put_entry(&mut self, place: &Place, entry: VersionEntry) {
        self.set_entry(place, entry.sequence(), Some(entry));
    }

    pub fn remove_entry(&mut self, place: &Place, sequence: u64) {
        self.set_entry(place, sequence, None);
    }

    fn set_entry(&mut self, place: &Place, sequence: u64, entry: Option<VersionEntry>) {
        self.changed.reordered.insert(place.clone());
        self.changed.entries.insert((place.0, place.1.clone(), negated(sequence)), entry);
    }

    pub fn put_manifest(&mut self, id: u64, manifest: Arc<Manifest>) {
        self.changed.manifests.insert(id, Some(manifest));
    }

    pub fn remove_manifest(&mut self, id: u64) {
        self.changed.manifests.insert(id, None);
    }

    pub fn set_upload(&mut self, id: u64, upload: Option<Arc<UploadRow>>) {
        self.changed.uploads.insert(id, upload);
    }

    pub fn set_part(&mut self, upload: u64, number: u32, part: Option<Arc<StoredPart>>) {
        self.changed.parts.insert((upload, number), part);
    }

    /// One reference more to a content; with the claim, where an ingest has just made one.
    pub fn refer(&mut self, piece: &Piece, claim: Option<Claim>) {
        self.shift(piece, 1, claim);
    }

    /// One reference less.
    pub fn release(&mut self, piece: &Piece) {
        self.shift(piece, -1, None);
    }

    fn shift(&mut self, piece: &Piece, by: i64, claim: Option<Claim>) {
        let unchanged = Referred { delta: 0, size: piece.size, claim: None };
        let referred = self.changed.contents.entry(piece.address).or_insert(unchanged);
        referred.delta += by;
        referred.claim = referred.claim.max(claim);
    }

    /// Forgets a content, whose claim is given up afterwards.
    pub fn collect(&mut self, address: Address, claim: Claim) {
        self.next_sequence();
        self.changed.collected.insert(address, claim);
    }

    /// Counts what is new in a bucket, and what is gone.
    pub fn count(&mut self, bucket: BucketId, new: Statistic, gone: Statistic) {
        let usage = self.usages.entry(bucket).or_default();
        let shift = |count: &mut u64, by: i64| *count = count.saturating_add_signed(by);
        shift(&mut usage.bytes, new.bytes - gone.bytes);
        shift(&mut usage.objects, new.objects - gone.objects);
        shift(&mut usage.markers, new.markers - gone.markers);
        shift(&mut usage.uploading_bytes, new.uploading_bytes - gone.uploading_bytes);
        shift(&mut usage.uploads, new.uploads - gone.uploads);
        self.changed.usages.insert(bucket);
    }

    /// Tells an event where the bucket's owner asked for it.
    pub fn tell(&mut self, bucket: &Bucket, event: EventKind, sequencer: u64, told: Told<'_>) {
        let wanted = bucket.settings.notifications.as_ref().and_then(|all| all.wanted(event, told.key));
        let Some(wanted) = wanted else { return };
        let versioned = bucket.settings.versioning != Versioning::Unversioned;
        self.changed.events.push(ObjectEvent {
            sequencer,
            occurred_at: self.now,
            account: bucket.account.clone(),
            bucket: bucket.name.clone(),
            key: told.key.clone(),
            version: told.version.filter(|_| versioned),
            event: event.to_string(),
            configuration: wanted.id.clone(),
            size: told.size,
            etag: told.etag,
        });
    }

    /// Replaces the directory. The batch ends with this.
    pub fn set_directory(&mut self, directory: Directory, change: DirectoryChange) {
        self.next_sequence();
        if let DirectoryChange::CreateBucket(name) = &change
            && let Some(bucket) = directory.bucket(name)
        {
            self.usages.insert(bucket.id, Usage::default());
        }
        self.directory = Arc::new(directory);
        self.changed.directory = Some(change);
    }
}

// === impl Statistic ===

impl Statistic {
    pub fn of_version(version: &Version) -> Self {
        Self { bytes: version.size as i64, objects: 1, ..Self::default() }
    }

    pub fn of_entry(entry: &VersionEntry) -> Self {
        match entry {
            VersionEntry::Version(version) => Self::of_version(version),
            VersionEntry::Marker { .. } => Self { markers: 1, ..Self::default() },
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            objects: self.objects + other.objects,
            markers: self.markers + other.markers,
            uploading_bytes: self.uploading_bytes + other.uploading_bytes,
            uploads: self.uploads + other.uploads,
        }
    }
}

// === impl Told ===

impl<'a> Told<'a> {
    pub fn of(key: &'a ObjectKey, version: &Version) -> Self {
        Self { key, version: Some(version.id), size: Some(version.size), etag: Some(version.attributes.etag) }
    }

    /// Of what has no content, or none any more.
    pub fn gone(key: &'a ObjectKey, version: VersionId) -> Self {
        Self { key, version: Some(version), size: None, etag: None }
    }
}

// === impl VersionEntry ===

impl VersionEntry {
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Version(version) => version.sequence,
            Self::Marker { sequence, .. } => *sequence,
        }
    }

    pub fn id(&self) -> VersionId {
        match self {
            Self::Version(version) => version.id,
            Self::Marker { id, .. } => *id,
        }
    }
}

/// Where a version stands in `versions`: the newest first.
pub(crate) fn negated(sequence: u64) -> i64 {
    -i64::try_from(sequence).expect("microseconds since 1970 fit for 290,000 years")
}

/// The id of a version that has its own.
pub(crate) fn numbered(sequence: u64) -> VersionId {
    VersionId::Numbered(VersionNumber::new(Timestamp::from_micros(-negated(sequence)), 0))
}

/// The sequence number that an id was made of.
pub(crate) fn sequence_of(number: VersionNumber) -> u64 {
    (!u128::from_be_bytes(number.to_bytes()) >> 64) as u64
}
