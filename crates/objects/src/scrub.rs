//! Reads everything and says what is damaged.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_bucket::{BucketName, ObjectKey};
use mainstay_dataplane::{Address, ServeError};
use mainstay_storage::{Row, Statement};
use mainstay_types::InstanceId;
use tokio::time::{Instant, sleep_until};

use crate::account::{Bucket, BucketId};
use crate::directory::parsed;
use crate::error::{Error, IndexError, ReadError};
use crate::fetch;
use crate::objects::Objects;
use crate::stage::{integer, key};
use crate::stored::{self, StoredPart};
use crate::version::{Contents, Manifest, Piece, Version, VersionEntry};

/// Rows that are looked at together.
const PAGE: usize = 1000;

/// Objects that are named for one damaged content. Whoever has more of them restores the instance.
const MOST_TOUCHED: usize = 1000;

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Contents that were read.
    pub contents: u64,
    /// Bytes of those that are whole.
    pub bytes: u64,
    /// Contents that could not be read now, so that nothing is known of them.
    pub unread: u64,
    pub damaged: Vec<DamagedContent>,
}

/// Content that is not what was stored, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedContent {
    pub address: Address,
    /// What was found.
    pub reason: String,
    /// What refers to it, up to a bound.
    pub touches: Vec<Touched>,
}

/// An object that damage touches, or what an upload is to become.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    pub account: InstanceId,
    pub bucket: BucketName,
    pub key: ObjectKey,
}

/// How far a scrub is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    pub contents: u64,
    /// Contents in the index when the scrub began.
    pub total: u64,
    pub bytes: u64,
    pub damaged: u64,
}

impl Objects {
    /// Reads all content, at most so many bytes each second, and says what is damaged and whose it is.
    pub async fn scrub(
        &self,
        bytes_per_second: Option<u64>,
        progress: &(dyn Fn(ScrubProgress) + Sync),
    ) -> Result<ScrubReport, Error> {
        let mut report = ScrubReport::default();
        let mut pace = Pace::new(bytes_per_second);
        let total = self.count_contents().await?;
        let mut after: Option<Address> = None;
        loop {
            let page = self.contents_after(after).await?;
            for piece in &page {
                self.examine(piece, &mut report).await;
                let ScrubReport { contents, bytes, damaged, .. } = &report;
                progress(ScrubProgress { contents: *contents, total, bytes: *bytes, damaged: damaged.len() as u64 });
                pace.wait(piece.size).await;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.address),
                _ => break,
            }
        }
        if !report.damaged.is_empty() {
            self.find_touched(&mut report.damaged).await?;
        }
        Ok(report)
    }

    async fn examine(&self, piece: &Piece, report: &mut ScrubReport) {
        report.contents += 1;
        let reason = match self.inner.verify(piece).await {
            Ok(verified) => {
                report.bytes += verified.size;
                return;
            }
            Err(ReadError::DataPlane(ServeError::Damaged { reason, .. })) => reason,
            // Unless it was collected between the listing and the look at it.
            Err(ReadError::DataPlane(ServeError::Absent(_))) if self.is_known(piece.address).await => {
                "it is gone".to_owned()
            }
            Err(ReadError::DataPlane(ServeError::Absent(_))) => return,
            Err(error) => {
                tracing::warn!(address = %piece.address, %error, "content could not be examined");
                report.unread += 1;
                return;
            }
        };
        report.damaged.push(DamagedContent { address: piece.address, reason, touches: Vec::new() });
    }

    async fn is_known(&self, address: Address) -> bool {
        fetch::known(&self.inner.store, &[address]).await.is_ok_and(|known| known.contains(&address))
    }

    async fn count_contents(&self) -> Result<u64, IndexError> {
        let rows = self.inner.store.read(Statement::new("SELECT count(*) FROM contents", [])).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.integer(0))?.max(0) as u64)
    }

    async fn contents_after(&self, after: Option<Address>) -> Result<Vec<Piece>, IndexError> {
        let sql = "SELECT address, size FROM contents WHERE address > $1 ORDER BY address LIMIT $2";
        let after = after.map_or_else(|| Vec::new().into(), |address| key(&address));
        let rows = self.inner.store.read(Statement::new(sql, [after, integer(PAGE as u64)])).await?;
        let piece = |row: &Row| -> Result<_, IndexError> {
            let size = row.integer(1)?.max(0) as u64;
            Ok(Piece { address: fetch::address(row.blob(0)?)?, size, key: None })
        };
        rows.iter().map(piece).collect()
    }

    /// Reads the whole index for what refers to damaged contents. Nobody keeps account of it otherwise, since damage is
    /// rare and the way back from a content would cost every object a row.
    async fn find_touched(&self, damaged: &mut [DamagedContent]) -> Result<(), IndexError> {
        let directory = self.inner.directory();
        let buckets: HashMap<BucketId, &Bucket> = directory.buckets().map(|of| (of.id, of.as_ref())).collect();
        let mut touch = |bucket: BucketId, object: &ObjectKey, pieces: &[Piece]| {
            let Some(bucket) = buckets.get(&bucket) else { return };
            for content in damaged.iter_mut().filter(|content| content.touches.len() < MOST_TOUCHED) {
                if pieces.iter().any(|piece| piece.address == content.address) {
                    let (account, name) = (bucket.account.clone(), bucket.name.clone());
                    let touched = Touched { account, bucket: name, key: object.clone() };
                    // Several versions of a key come one after the other.
                    if content.touches.last() != Some(&touched) {
                        content.touches.push(touched);
                    }
                }
            }
        };
        let mut manifests: HashMap<u64, (BucketId, ObjectKey)> = HashMap::new();
        let mut visit = |bucket: BucketId, object: ObjectKey, version: &Version| match &version.content {
            Contents::One(piece) => touch(bucket, &object, std::slice::from_ref(piece)),
            Contents::Many { manifest, .. } => drop(manifests.insert(*manifest, (bucket, object))),
        };
        for bucket in directory.buckets() {
            let sql = "SELECT key, record FROM objects WHERE bucket = $1 AND key > $2 ORDER BY key LIMIT $3";
            let mut after = String::new();
            while let Some(last) = {
                let rows = self.page(sql, bucket.id, vec![after.as_str().into()]).await?;
                for row in &rows {
                    if let Some(version) = readable(bucket.name.as_str(), row.text(0)?, stored::decode(row.blob(1)?)) {
                        visit(bucket.id, parsed(row.text(0)?)?, &version);
                    }
                }
                rows.last().map(|row| row.text(0).map(str::to_owned)).transpose()?
            } {
                after = last;
            }
            let sql = "SELECT key, place, record FROM versions WHERE bucket = $1 AND (key, place) > ($2, $3) \
                       ORDER BY key, place LIMIT $4";
            let mut after = (String::new(), i64::MIN);
            while let Some(last) = {
                let rows = self.page(sql, bucket.id, vec![after.0.as_str().into(), after.1.into()]).await?;
                for row in &rows {
                    let entry = readable(bucket.name.as_str(), row.text(0)?, stored::decode_entry(row.blob(2)?));
                    if let Some(VersionEntry::Version(version)) = entry {
                        visit(bucket.id, parsed(row.text(0)?)?, &version);
                    }
                }
                rows.last().map(|row| Ok::<_, IndexError>((row.text(0)?.to_owned(), row.integer(1)?))).transpose()?
            } {
                after = last;
            }
        }
        for (id, (bucket, object)) in manifests {
            let manifest = match fetch::manifest(&self.inner.store, id).await {
                Err(error @ IndexError::Record(_)) => readable("manifests", object.as_str(), Err(error)),
                found => found?,
            };
            touch(bucket, &object, manifest.as_deref().map_or(&[], |manifest: &Manifest| &manifest.pieces));
        }
        let sql = "SELECT u.bucket, u.key, p.upload, p.number, p.record FROM upload_parts AS p \
                   JOIN uploads AS u ON u.id = p.upload WHERE (p.upload, p.number) > ($1, $2) \
                   ORDER BY p.upload, p.number LIMIT $3";
        let mut after = (0, 0);
        loop {
            let asked = [after.0.into(), after.1.into(), integer(PAGE as u64)];
            let rows = self.inner.store.read(Statement::new(sql, asked)).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.integer(2)?, last.integer(3)?);
            for row in &rows {
                let part: Option<StoredPart> = readable("uploads", row.text(1)?, stored::decode(row.blob(4)?));
                if let Some(part) = part {
                    touch(BucketId(row.integer(0)?), &parsed(row.text(1)?)?, &part.pieces);
                }
            }
        }
    }

    async fn page(
        &self,
        sql: &'static str,
        bucket: BucketId,
        after: Vec<mainstay_storage::Value>,
    ) -> Result<Vec<Row>, IndexError> {
        let mut parameters = vec![bucket.0.into()];
        parameters.extend(after);
        parameters.push(integer(PAGE as u64));
        Ok(self.inner.store.read(Statement::new(sql, parameters)).await?)
    }
}

/// A record, or none where it is damaged itself: what is known of damage is told all the same.
fn readable<T, E: std::fmt::Display>(place: &str, key: &str, record: Result<T, E>) -> Option<T> {
    let told = |error: &E| tracing::error!(place, key, %error, "what a damaged record refers to cannot be told");
    record.inspect_err(told).ok()
}

/// Keeps a scrub from taking the disk from those who serve.
struct Pace {
    bytes_per_second: Option<u64>,
    next: Instant,
}

impl Pace {
    fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), next: Instant::now() }
    }

    async fn wait(&mut self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        self.next = self.next.max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        sleep_until(self.next).await;
    }
}
