//! A backup read in full: each record of its index, and each content that it refers to, whose digest is computed anew.
//!
//! Nothing is laid out: what a restore would do with the bytes is what every upload does, and whether they are there and whole is what
//! can be wrong with them.

use std::time::Instant;

use futures::stream::{StreamExt, TryStreamExt};
use mainstay_bucket::BucketName;
use mainstay_dataplane::Address;
use mainstay_engine::recovery::{Archive, Assertion, Backup, Check, Rehearsal};
use mainstay_engine::{EngineError, InstanceSpec};
use mainstay_objects::{Entry, Piece, Record, VersionEntry};
use mainstay_types::Digest;

use super::assertion::{Asked, LONGEST_TEXT, Question};
use super::backup::Counts;
use super::index;
use crate::names;

/// Contents that are read at the same time.
const AT_ONCE: usize = 8;
/// Failures that are told one by one; a drill that meets more has met enough.
const TOLD: usize = 20;

pub(super) async fn rehearse(
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
) -> Result<Rehearsal, EngineError> {
    let begin = Instant::now();
    archive.progress.stage("reading the backup");
    let mut asked: Vec<_> = assertions.iter().map(Answer::to).collect();
    let (mut counts, mut contents, mut failures) = (Counts::default(), Counts::default(), Vec::new());
    let mut bucket = None::<BucketName>;
    let provided = names::bucket(instance);
    let mut records = index::read(backup, archive).await?;
    while let Some(record) = records.try_next().await? {
        counts.count(&record);
        match record {
            Record::Bucket { name, .. } => bucket = Some(name),
            Record::Entry(entry) => {
                read_contents(archive, &entry, &mut contents, &mut failures).await?;
                for answer in &mut asked {
                    answer.look(archive, bucket.as_ref(), &provided, &entry).await;
                }
            }
            Record::End { .. } => {}
        }
    }
    let recovery_time = begin.elapsed();
    let seen = format!("{} entries in {} buckets, {} bytes", counts.entries, counts.buckets, counts.bytes);
    let noted = backup.notes.clone();
    let failure = (counts.notes() != noted).then(|| format!("{noted:?} was backed up"));
    let seen_contents = format!("{} contents of {} bytes were read", contents.entries, contents.bytes);
    let failure_of_contents = (!failures.is_empty()).then(|| failures.join("; "));
    let mut checks = vec![
        Check { name: "index".to_owned(), failure, seen },
        Check { name: "digests of contents".to_owned(), failure: failure_of_contents, seen: seen_contents },
    ];
    checks.extend(asked.into_iter().map(Answer::check));
    Ok(Rehearsal { recovery_time, newest: backup.ended_at, checks })
}

/// Reads all that an entry is made of, and notes what is not whole.
async fn read_contents(
    archive: &Archive,
    entry: &Entry,
    contents: &mut Counts,
    failures: &mut Vec<String>,
) -> Result<(), EngineError> {
    let reading = futures::stream::iter(entry.pieces().to_vec()).map(|piece| read(archive, piece));
    let mut reading = reading.buffer_unordered(AT_ONCE);
    while let Some(read) = reading.next().await {
        match read {
            Ok(size) => {
                contents.entries += 1;
                contents.bytes += size;
            }
            Err(EngineError::Permanent { reason, .. }) if failures.len() < TOLD => {
                failures.push(format!("{}: {reason}", entry.key));
            }
            Err(EngineError::Permanent { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a content, and answers its size where it is what its address says.
async fn read(archive: &Archive, piece: Piece) -> Result<u64, EngineError> {
    let name = format!("content {}", piece.address);
    let mut kept = archive.serve(&name, piece.address).await?;
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    while let Some(bytes) = kept.try_next().await? {
        hasher.update(&bytes);
        size += bytes.len() as u64;
    }
    let found = Address::from_digest(Digest::from_bytes(*hasher.finalize().as_bytes()));
    match found == piece.address && size == piece.size {
        true => Ok(size),
        false => Err(EngineError::permanent(
            format!("{name} of {} bytes was served as {found} of {size}", piece.size),
            "restore an earlier backup",
        )),
    }
}

/// An assertion, and what was found for it.
struct Answer<'a> {
    assertion: &'a Assertion,
    question: Result<Question, String>,
    found: Option<Result<String, String>>,
}

impl<'a> Answer<'a> {
    fn to(assertion: &'a Assertion) -> Self {
        Self { assertion, question: Question::parse(&assertion.query), found: None }
    }

    /// Looks whether an entry is what is asked for.
    async fn look(&mut self, archive: &Archive, bucket: Option<&BucketName>, provided: &BucketName, entry: &Entry) {
        let Ok(question) = &self.question else { return };
        let its_bucket = bucket == Some(question.bucket.as_ref().unwrap_or(provided));
        let VersionEntry::Version(version) = &entry.entry else { return };
        if !its_bucket || !entry.latest || entry.key.as_str() != question.key {
            return;
        }
        self.found = Some(match question.asked {
            Asked::Size => Ok(version.size.to_string()),
            Asked::ETag => Ok(version.attributes.etag.to_string()),
            Asked::Text if version.size > LONGEST_TEXT => {
                Err(format!("it has {} bytes, and {LONGEST_TEXT} at most are compared as text", version.size))
            }
            Asked::Text => text(archive, entry).await.map_err(|error| error.to_string()),
        });
    }

    fn check(self) -> Check {
        let name = format!("assertion {}", self.assertion.query);
        let expected = &self.assertion.expect;
        let found = match (self.question, self.found) {
            (Err(reason), _) => Err(reason),
            (Ok(_), Some(found)) => found,
            (Ok(_), None) => Err("there is no such object".to_owned()),
        };
        match found {
            Ok(seen) if seen == *expected => Check { name, failure: None, seen },
            Ok(seen) => {
                let failure = Some(format!("it is {seen:?}, and {expected:?} was expected"));
                Check { name, failure, seen }
            }
            Err(reason) => Check { name, failure: Some(reason), seen: String::new() },
        }
    }
}

async fn text(archive: &Archive, entry: &Entry) -> Result<String, EngineError> {
    let mut all = Vec::new();
    for piece in entry.pieces() {
        let mut kept = archive.serve(&format!("content {}", piece.address), piece.address).await?;
        while let Some(bytes) = kept.try_next().await? {
            all.extend_from_slice(&bytes);
        }
    }
    Ok(String::from_utf8_lossy(&all).trim().to_owned())
}
