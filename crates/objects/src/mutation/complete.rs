//! An upload's parts become an object.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mainstay_bucket::ETag;
use mainstay_bucket::notification::EventKind;
use md5::{Digest, Md5};

use super::Mutation;
use super::put::{place_version, with_default_retention};
use super::succession::{Succession, existing, new_id};
use super::upload::find;
use crate::cache::Place;
use crate::error::Refusal;
use crate::request::Complete;
use crate::stage::{Need, Stage, Statistic, Stop};
use crate::stored::StoredPart;
use crate::version::{Attributes, Contents, Manifest, ManifestPart, Version};

/// The least bytes of every part but the last, in S3.
const LEAST_PART: u64 = 5 << 20;

/// The most bytes of an object, in S3.
const LARGEST_OBJECT: u64 = 5 << 40;

pub(crate) struct CompleteUpload(pub Complete);

impl Mutation for CompleteUpload {
    type Answer = Arc<Version>;

    fn needs(&self, stage: &Stage) -> Vec<Need> {
        let upload = self.0.upload.id.sequence;
        let Ok(bucket) = stage.bucket(&self.0.upload.bucket) else { return Vec::new() };
        let place = (bucket.id, self.0.upload.key.clone());
        vec![Need::Current(place), Need::Upload(upload), Need::Parts(upload)]
    }

    fn decide(&self, stage: &mut Stage) -> Result<Arc<Version>, Stop> {
        let Self(complete) = self;
        let bucket = stage.open_bucket(&complete.upload.bucket)?;
        let place: Place = (bucket.id, complete.upload.key.clone());
        let current = stage.current(&place)?;
        let id = complete.upload.id.sequence;
        let Some(upload) = find(stage, &complete.upload)? else {
            // Asked again, because the answer was lost: it is there.
            let completed = |version: &Arc<Version>| version.content.completed_from() == Some(id);
            return current.filter(completed).ok_or(Refusal::NoSuchUpload.into());
        };
        let parts = stage.parts(id)?.clone();
        let (manifest, etag) = assemble(complete, &parts)?;
        let size = manifest.parts.iter().map(|part| part.size).sum();
        if size > LARGEST_OBJECT {
            return Err(Refusal::TooLarge { limit: LARGEST_OBJECT }.into());
        }
        complete.conditions.check_write(current.as_deref().map(existing).as_ref()).map_err(Refusal::from)?;
        let succession = Succession::of(stage, &bucket, &place, current)?;
        let uploading_bytes = parts.values().map(|part| part.size as i64).sum();
        let uploaded = Statistic { uploading_bytes, uploads: 1, ..Statistic::default() };
        let new = Statistic { bytes: size as i64, objects: 1, ..Statistic::default() };
        stage.admit(&bucket, new, succession.gone().plus(uploaded))?;

        let sequence = stage.next_sequence();
        stage.count(bucket.id, Statistic::default(), uploaded);
        let used = |number: &u32| complete.parts.binary_search_by_key(number, |part| part.number).is_ok();
        let unused = parts.iter().filter(|(number, _)| !used(number)).flat_map(|(_, part)| &part.pieces);
        unused.for_each(|piece| stage.release(piece));
        stage.set_upload(id, None);
        let count = manifest.parts.len() as u32;
        stage.put_manifest(sequence, Arc::new(manifest));
        let said = upload.record.attributes.clone();
        let attributes = Attributes {
            etag,
            metadata: said.metadata,
            tags: said.tags,
            checksum: complete.checksum.clone(),
            retention: said.retention,
            legal_hold: said.legal_hold,
            encrypted: said.encrypted,
        };
        let version = Version {
            sequence,
            id: new_id(&bucket, sequence),
            modified_at: stage.now,
            size,
            content: Contents::Many { manifest: sequence, upload: Some(id), parts: count },
            attributes: with_default_retention(&bucket, attributes, stage),
        };
        Ok(place_version(stage, &bucket, place, succession, version, EventKind::CompleteMultipartUpload))
    }
}

/// The object that the parts make, and its ETag: the MD5 of the parts' own, one after the other.
fn assemble(complete: &Complete, parts: &BTreeMap<u32, Arc<StoredPart>>) -> Result<(Manifest, ETag), Refusal> {
    if !complete.parts.is_sorted_by(|one, other| one.number < other.number) {
        return Err(Refusal::InvalidPartOrder);
    }
    let (mut manifest, mut digests) = (Manifest::default(), Md5::new());
    let last = complete.parts.last().ok_or(Refusal::InvalidPart { number: 1 })?.number;
    for asked in &complete.parts {
        let number = asked.number;
        let part = parts.get(&number).filter(|part| part.etag == asked.etag).ok_or(Refusal::InvalidPart { number })?;
        if part.size < LEAST_PART && number != last {
            return Err(Refusal::PartTooSmall { number, size: part.size, minimum: LEAST_PART });
        }
        digests.update(part.etag.digest());
        manifest.parts.push(ManifestPart { number, size: part.size, checksum: part.checksum.clone() });
        manifest.pieces.extend(part.pieces.iter().cloned());
    }
    let count = NonZeroU32::new(manifest.parts.len() as u32).unwrap_or(NonZeroU32::MIN);
    Ok((manifest, ETag::composite(digests.finalize().into(), count)))
}

impl Contents {
    fn completed_from(&self) -> Option<u64> {
        match self {
            Self::Many { upload, .. } => *upload,
            Self::One(_) => None,
        }
    }
}
