//! An instance's index as it is listed, and the contents that the archive lacks.
//!
//! Objects are listed in the order of their keys while they are used, so that each is as it was at some moment between the beginning
//! and the end. Each content is in the archive before the record that refers to it is sent there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream::{StreamExt, TryStreamExt};
use mainstay_bucket::VersionId;
use mainstay_dataplane::{Serve, ServeError, Source};
use mainstay_engine::recovery::{Archive, Backup};
use mainstay_engine::{Engine, EngineError, InstanceSpec};
use mainstay_objects::{
    Bucket, Entry, Hold, ListedVersion, Objects, Piece, Record, Version, VersionEntry, VersionsQuery,
};
use mainstay_types::Timestamp;

use super::index::{self, INDEX};
use crate::engine::{ObjectStoreEngine, version};
use crate::fault;

/// Versions that are listed together.
const PAGE: usize = 1_000;
/// Versions whose records and contents are on their way at once. An object of many parts has a record of a megabyte.
const TOGETHER: usize = 32;
/// Contents that are copied at the same time: enough that small ones do not wait for one another's acknowledgement.
const CONTENTS_AT_ONCE: usize = 8;

const UNCOVERED: [&str; 3] = [
    "uploads in parts that were not completed",
    "what changed between the beginning of the backup and its end: each object is in it as it was at some moment between them",
    "access keys, which the control plane keeps",
];

pub(super) async fn take(
    engine: &ObjectStoreEngine,
    instance: &InstanceSpec,
    archive: &Archive,
) -> Result<Backup, EngineError> {
    let began_at = Timestamp::now();
    archive.progress.stage("copying the objects");
    let buckets = engine.objects.buckets(&instance.id);
    let counts = Arc::new(Mutex::new(Counts::default()));
    let listing = Listing {
        objects: engine.objects.clone(),
        _hold: engine.objects.hold(),
        archive: archive.clone(),
        buckets: buckets.into(),
        at: None,
        listed: VecDeque::new(),
        counts: counts.clone(),
        ended: false,
    };
    let records = futures::stream::try_unfold(listing, |mut listing| async move {
        let records = listing.next().await.map_err(mainstay_dataplane::SourceError::from)?;
        Ok(records.map(|records| (records, listing)))
    });
    let part = archive.keep(INDEX, Box::pin(records)).await?;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner).notes();
    Ok(Backup {
        engine: engine.offering().engine.clone(),
        version: version(),
        parts: vec![part],
        began_at,
        ended_at: Timestamp::now(),
        notes: counts,
        uncovered: UNCOVERED.map(str::to_owned).to_vec(),
    })
}

/// What a backup says of itself, so that a drill can hold what it finds against it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub buckets: u64,
    /// Versions and delete markers.
    pub entries: u64,
    /// Bytes of all versions.
    pub bytes: u64,
}

impl Counts {
    pub fn count(&mut self, record: &Record) {
        match record {
            Record::Bucket { .. } => self.buckets += 1,
            Record::Entry(entry) => {
                self.entries += 1;
                self.bytes += entry.pieces().iter().map(|piece| piece.size).sum::<u64>();
            }
            Record::End { .. } => {}
        }
    }

    pub fn notes(&self) -> BTreeMap<String, String> {
        let notes = [("buckets", self.buckets), ("entries", self.entries), ("bytes", self.bytes)];
        notes.map(|(name, count)| (name.to_owned(), count.to_string())).into()
    }
}

/// How far the listing has come.
struct Listing {
    objects: Objects,
    _hold: Hold,
    archive: Archive,
    buckets: VecDeque<Arc<Bucket>>,
    /// The bucket that is listed, and behind what; nothing where its last page was.
    at: Option<(Arc<Bucket>, Option<After>)>,
    listed: VecDeque<ListedVersion>,
    counts: Arc<Mutex<Counts>>,
    ended: bool,
}

/// Behind what a listing goes on; the beginning where there is nothing.
type After = Option<(String, Option<VersionId>)>;

impl Listing {
    /// Some records more.
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let mut bytes = BytesMut::new();
        loop {
            if !self.listed.is_empty() {
                for entry in self.entries().await? {
                    self.tell(&Record::Entry(entry), &mut bytes);
                }
                return Ok(Some(bytes.freeze()));
            }
            match self.at.take() {
                Some((bucket, Some(after))) => self.list(bucket, after).await?,
                Some((_, None)) | None => match self.buckets.pop_front() {
                    Some(bucket) => {
                        let settings = Box::new(bucket.settings.clone());
                        self.tell(&Record::Bucket { name: bucket.name.clone(), settings }, &mut bytes);
                        self.at = Some((bucket, Some(None)));
                        return Ok(Some(bytes.freeze()));
                    }
                    None if self.ended => return Ok(None),
                    None => {
                        self.ended = true;
                        let entries = self.counts.lock().unwrap_or_else(PoisonError::into_inner).entries;
                        self.tell(&Record::End { entries }, &mut bytes);
                        return Ok(Some(bytes.freeze()));
                    }
                },
            }
        }
    }

    fn tell(&self, record: &Record, bytes: &mut BytesMut) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).count(record);
        index::put(record, bytes);
    }

    async fn list(&mut self, bucket: Arc<Bucket>, after: After) -> Result<(), EngineError> {
        let query = VersionsQuery { after, limit: PAGE, ..VersionsQuery::default() };
        let page = self.objects.list_versions(&bucket.name, query).await;
        let page = page.map_err(fault::of_index("the objects could not be listed"))?;
        self.listed = page.entries.into();
        self.at = Some((bucket, page.next.map(Some)));
        Ok(())
    }

    /// Some of what was listed, once its contents are kept.
    async fn entries(&mut self) -> Result<Vec<Entry>, EngineError> {
        let mut entries = Vec::with_capacity(TOGETHER);
        while entries.len() < TOGETHER
            && let Some(listed) = self.listed.pop_front()
        {
            if let Some(entry) = self.entry(listed).await? {
                entries.push(entry);
            }
        }
        let pieces: Vec<Piece> = entries.iter().flat_map(Entry::pieces).cloned().collect();
        let keeping =
            futures::stream::iter(pieces).map(|piece| keep(self.objects.clone(), self.archive.clone(), piece));
        keeping.buffer_unordered(CONTENTS_AT_ONCE).try_collect::<()>().await?;
        Ok(entries)
    }

    /// With its parts; none where it was deleted since it was listed.
    async fn entry(&self, listed: ListedVersion) -> Result<Option<Entry>, EngineError> {
        let ListedVersion { key, entry, latest } = listed;
        let manifest = match &entry {
            VersionEntry::Version(version) => match self.manifest(version).await? {
                Some(manifest) => manifest,
                None => return Ok(None),
            },
            VersionEntry::Marker { .. } => None,
        };
        Ok(Some(Entry { key, latest, entry, manifest }))
    }

    async fn manifest(
        &self,
        version: &Version,
    ) -> Result<Option<Option<Arc<mainstay_objects::Manifest>>>, EngineError> {
        match self.objects.manifest(version).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(mainstay_objects::ReadError::Refused(_)) => Ok(None),
            Err(error) => Err(EngineError::transient_from("the parts of an object could not be listed", error)),
        }
    }
}

/// Sees to it that the archive has a content. Whether it has is asked by its first byte, which is verified where it is found.
async fn keep(objects: Objects, archive: Archive, piece: Piece) -> Result<(), EngineError> {
    let first = Serve { address: piece.address, range: Some(0..1), key: None };
    match archive.plane.serve_object(first).await {
        Ok(served) if served.size == piece.size => return Ok(()),
        Err(ServeError::Trouble(trouble)) => {
            return Err(EngineError::transient_from("the archive could not be asked", trouble));
        }
        // What is not whole there is sent again.
        Ok(_) | Err(_) => {}
    }
    let name = format!("content {}", piece.address);
    let body = objects.read_piece(&piece).await;
    let body = body.map_err(|error| EngineError::transient_from(format!("{name} could not be read"), error))?;
    let source: Source = Box::pin(index::pieces(body).map_err(mainstay_dataplane::SourceError::from));
    let receipt = archive.ingest(&name, source).await?;
    match receipt.address == piece.address {
        true => Ok(()),
        false => Err(EngineError::transient(format!("{name} became {} on its way", receipt.address))),
    }
}
