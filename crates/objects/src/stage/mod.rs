//! What a batch of mutations is decided on: rows as they are, with what the batch has changed laid over them.
//!
//! Nothing here waits. A decision that needs a row which is not at hand stops and says which; the writer fetches it and the
//! decision is made anew. Decisions look first and change afterwards, so that one that stops has changed nothing.

mod effects;
mod statements;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mainstay_bucket::{BucketName, ObjectKey};
use mainstay_dataplane::{Address, Claim};
use mainstay_types::{InstanceId, Timestamp};

use crate::account::{Bucket, BucketId, Usage};
use crate::cache::{Known, Place};
use crate::directory::{Directory, Usages};
use crate::error::Refusal;
use crate::feed::ObjectEvent;
use crate::quota;
use crate::request::UploadId;
use crate::stored::{StoredPart, StoredUpload};
use crate::version::{Manifest, VersionEntry};

pub(crate) use effects::{Statistic, Told, negated, numbered, sequence_of};
pub(crate) use statements::{integer, key};

/// Why a decision was not made.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Refusal),
    Lacks(Need),
    /// The batch has changed what the decision depends on in a way that is not laid over: it is made in the next one.
    NextBatch,
}

/// A row, or some, that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    Current(Place),
    /// The two newest of a key in `versions`.
    Newest(Place),
    /// The null version of a key in `versions`.
    Null(Place),
    /// A version of a key in `versions`, by its sequence number.
    Version(Place, u64),
    Manifest(u64),
    Upload(u64),
    Part(u64, u32),
    Parts(u64),
    Content(Address),
}

/// What a row was.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Current(Known),
    Entries(Vec<VersionEntry>),
    Manifest(Option<Arc<Manifest>>),
    Upload(Option<Arc<UploadRow>>),
    Parts(BTreeMap<u32, Arc<StoredPart>>),
    Content(Option<ContentRow>),
}

/// An upload, and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UploadRow {
    pub id: UploadId,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub record: StoredUpload,
}

/// A row of `contents`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRow {
    pub refs: u64,
    pub claim: Claim,
    pub unused_since: Option<Timestamp>,
}

pub(crate) struct Stage {
    pub now: Timestamp,
    pub directory: Arc<Directory>,
    before: u64,
    sequence: u64,
    found: HashMap<Need, Found>,
    usages: Usages,
    changed: Changed,
}

/// What the batch changes.
#[derive(Default)]
struct Changed {
    current: HashMap<Place, Known>,
    /// Rows of `versions`: what they become, or none where they go.
    entries: BTreeMap<(BucketId, ObjectKey, i64), Option<VersionEntry>>,
    /// Keys whose rows of `versions` are not as they were found.
    reordered: HashSet<Place>,
    manifests: BTreeMap<u64, Option<Arc<Manifest>>>,
    uploads: BTreeMap<u64, Option<Arc<UploadRow>>>,
    parts: BTreeMap<(u64, u32), Option<Arc<StoredPart>>>,
    contents: HashMap<Address, Referred>,
    collected: HashMap<Address, Claim>,
    usages: HashSet<BucketId>,
    events: Vec<ObjectEvent>,
    directory: Option<DirectoryChange>,
}

/// How the references to a content change.
#[derive(Debug, Clone, Copy)]
struct Referred {
    delta: i64,
    size: u64,
    /// Of an ingest, which the row may not know of yet.
    claim: Option<Claim>,
}

/// A change of accounts or buckets. There is one at most, in a batch of its own.
pub(crate) enum DirectoryChange {
    PutAccount(InstanceId),
    RemoveAccount(InstanceId),
    CreateBucket(BucketName),
    ChangeBucket(BucketName),
    RemoveBucket(BucketId),
    /// They have other names and belong to others now, in the order that makes room for the names.
    MoveBuckets(Vec<Arc<Bucket>>),
}

/// What the writer publishes once a batch is durable.
pub(crate) struct Outcome {
    pub sequence: u64,
    pub current: HashMap<Place, Known>,
    pub usages: Vec<(BucketId, Usage)>,
    pub directory: Option<Arc<Directory>>,
    pub removed_bucket: Option<BucketId>,
    pub events: bool,
}

// === impl Stage ===

impl Stage {
    pub fn new(now: Timestamp, sequence: u64, directory: Arc<Directory>, usages: Usages) -> Self {
        Self { now, directory, before: sequence, sequence, found: HashMap::new(), usages, changed: Changed::default() }
    }

    /// Takes what was found of a row that was lacking.
    pub fn provide(&mut self, need: Need, found: Found) {
        self.found.insert(need, found);
    }

    pub fn has(&self, need: &Need) -> bool {
        self.found.contains_key(need)
    }

    /// A bucket that takes changes.
    pub fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, Stop> {
        self.directory.bucket(name).cloned().ok_or(Stop::Refused(Refusal::NoSuchBucket))
    }

    /// A bucket that takes new content: not one of an account that is being deleted.
    pub fn open_bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, Stop> {
        let bucket = self.bucket(name)?;
        let account = self.directory.account(&bucket.account);
        if account.is_none_or(|account| account.closing) {
            return Err(Stop::Refused(Refusal::NoSuchBucket));
        }
        Ok(bucket)
    }

    /// The newest version of a key, where it is visible.
    pub fn current(&self, place: &Place) -> Result<Known, Stop> {
        if let Some(changed) = self.changed.current.get(place) {
            return Ok(changed.clone());
        }
        match self.found.get(&Need::Current(place.clone())) {
            Some(Found::Current(known)) => Ok(known.clone()),
            _ => Err(Stop::Lacks(Need::Current(place.clone()))),
        }
    }

    /// Rows of `versions` of one key.
    pub fn entries(&self, need: Need) -> Result<&[VersionEntry], Stop> {
        if let Need::Newest(place) | Need::Null(place) | Need::Version(place, _) = &need
            && self.changed.reordered.contains(place)
        {
            return Err(Stop::NextBatch);
        }
        match self.found.get(&need) {
            Some(Found::Entries(entries)) => Ok(entries),
            _ => Err(Stop::Lacks(need)),
        }
    }

    pub fn manifest(&self, id: u64) -> Result<Arc<Manifest>, Stop> {
        if let Some(Some(manifest)) = self.changed.manifests.get(&id) {
            return Ok(manifest.clone());
        }
        match self.found.get(&Need::Manifest(id)) {
            Some(Found::Manifest(Some(manifest))) => Ok(manifest.clone()),
            // A version without its manifest can still be deleted; what it referred to is named by the scrub.
            Some(Found::Manifest(None)) => Ok(Arc::default()),
            _ => Err(Stop::Lacks(Need::Manifest(id))),
        }
    }

    /// An upload by the number in its id.
    pub fn upload(&self, id: u64) -> Result<Option<Arc<UploadRow>>, Stop> {
        if let Some(changed) = self.changed.uploads.get(&id) {
            return Ok(changed.clone());
        }
        match self.found.get(&Need::Upload(id)) {
            Some(Found::Upload(upload)) => Ok(upload.clone()),
            _ => Err(Stop::Lacks(Need::Upload(id))),
        }
    }

    pub fn part(&self, upload: u64, number: u32) -> Result<Option<Arc<StoredPart>>, Stop> {
        if let Some(changed) = self.changed.parts.get(&(upload, number)) {
            return Ok(changed.clone());
        }
        match self.found.get(&Need::Part(upload, number)) {
            Some(Found::Parts(parts)) => Ok(parts.get(&number).cloned()),
            _ => Err(Stop::Lacks(Need::Part(upload, number))),
        }
    }

    /// All parts of an upload.
    pub fn parts(&self, upload: u64) -> Result<&BTreeMap<u32, Arc<StoredPart>>, Stop> {
        if self.changed.parts.range((upload, 0)..=(upload, u32::MAX)).next().is_some() {
            return Err(Stop::NextBatch);
        }
        match self.found.get(&Need::Parts(upload)) {
            Some(Found::Parts(parts)) => Ok(parts),
            _ => Err(Stop::Lacks(Need::Parts(upload))),
        }
    }

    /// What is known of a content that the batch has not touched; none where it is not in the index.
    pub fn content(&self, address: Address) -> Result<Option<ContentRow>, Stop> {
        if self.changed.contents.contains_key(&address) || self.changed.collected.contains_key(&address) {
            return Err(Stop::NextBatch);
        }
        self.content_before(address)
    }

    /// Whether a content may be referred to which was in the index before.
    pub fn content_lives(&self, address: Address) -> Result<bool, Stop> {
        if self.changed.collected.contains_key(&address) {
            return Ok(false);
        }
        Ok(self.changed.contents.contains_key(&address) || self.content_before(address)?.is_some())
    }

    fn content_before(&self, address: Address) -> Result<Option<ContentRow>, Stop> {
        match self.found.get(&Need::Content(address)) {
            Some(Found::Content(row)) => Ok(*row),
            _ => Err(Stop::Lacks(Need::Content(address))),
        }
    }

    pub fn usage(&self, bucket: BucketId) -> Usage {
        self.usages.get(&bucket).copied().unwrap_or_default()
    }

    /// Whether a bucket and its account have room for what is new, once something is gone.
    pub fn admit(&self, bucket: &Bucket, new: Statistic, gone: Statistic) -> Result<(), Stop> {
        Ok(quota::admit(&self.directory, &self.usages, bucket, new, gone)?)
    }

    /// Whether nothing was changed yet.
    pub fn is_untouched(&self) -> bool {
        self.sequence == self.before
    }

    /// Whether accounts or buckets were changed, after which a batch ends.
    pub fn is_closed(&self) -> bool {
        self.changed.directory.is_some()
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
