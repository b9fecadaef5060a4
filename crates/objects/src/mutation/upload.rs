//! Uploads begin, take parts, and are given up.

use std::sync::Arc;

use super::Mutation;
use super::put::check_lock;
use crate::error::Refusal;
use crate::request::{NewUpload, Part, Pieces, PutPart, Upload, UploadId, UploadRef};
use crate::stage::{Need, Stage, Statistic, Stop, UploadRow};
use crate::stored::{StoredPart, StoredUpload};

/// The highest number of a part, in S3.
const MOST_PARTS: u32 = 10_000;

pub(crate) struct BeginUpload {
    pub new: NewUpload,
    /// Makes the id hard to guess.
    pub random: u64,
}

pub(crate) struct KeepPart(pub PutPart);

/// Gives an upload up. `begun` says which, where a lifecycle rule does it: ids are never used again, so that the one
/// that was meant is gone or the same.
pub(crate) struct AbortUpload(pub UploadRef);

impl Mutation for BeginUpload {
    type Answer = Upload;

    fn needs(&self, _: &Stage) -> Vec<Need> {
        Vec::new()
    }

    fn decide(&self, stage: &mut Stage) -> Result<Upload, Stop> {
        let NewUpload { bucket, key, attributes } = &self.new;
        let bucket = stage.open_bucket(bucket)?;
        check_lock(&bucket, attributes.retention.as_ref(), attributes.legal_hold)?;
        let id = UploadId { sequence: stage.next_sequence(), random: self.random };
        let record = StoredUpload { random: self.random, created_at: stage.now, attributes: attributes.clone() };
        let row = UploadRow { id, bucket: bucket.id, key: key.clone(), record };
        stage.count(bucket.id, Statistic { uploads: 1, ..Statistic::default() }, Statistic::default());
        let upload = row.upload();
        stage.set_upload(id.sequence, Some(Arc::new(row)));
        Ok(upload)
    }
}

impl Mutation for KeepPart {
    type Answer = Part;

    fn needs(&self, _: &Stage) -> Vec<Need> {
        let upload = self.0.upload.id.sequence;
        let mut needs = vec![Need::Upload(upload), Need::Part(upload, self.0.number)];
        if let Pieces::Known(manifest) = &self.0.content.pieces {
            needs.extend(manifest.pieces.iter().map(|piece| Need::Content(piece.address)));
        }
        needs
    }

    fn decide(&self, stage: &mut Stage) -> Result<Part, Stop> {
        let Self(put) = self;
        if !(1..=MOST_PARTS).contains(&put.number) {
            return Err(Refusal::InvalidPartNumber.into());
        }
        let bucket = stage.open_bucket(&put.upload.bucket)?;
        let upload = find(stage, &put.upload)?.ok_or(Refusal::NoSuchUpload)?;
        let before = stage.part(upload.id.sequence, put.number)?;
        let (pieces, claim) = match &put.content.pieces {
            Pieces::Fresh(piece, claim) => (vec![piece.clone()], Some(*claim)),
            Pieces::Known(manifest) => (manifest.pieces.clone(), None),
        };
        if claim.is_none() {
            for piece in &pieces {
                if !stage.content_lives(piece.address)? {
                    return Err(Refusal::SourceGone.into());
                }
            }
        }
        let uploading = |bytes: u64| Statistic { uploading_bytes: bytes as i64, ..Statistic::default() };
        let (new, gone) = (uploading(put.content.size), uploading(before.as_ref().map_or(0, |part| part.size)));
        stage.admit(&bucket, new, gone)?;

        stage.next_sequence();
        stage.count(bucket.id, new, gone);
        pieces.iter().for_each(|piece| stage.refer(piece, claim));
        if let Some(before) = before {
            before.pieces.iter().for_each(|piece| stage.release(piece));
        }
        let part = StoredPart {
            size: put.content.size,
            etag: put.etag,
            checksum: put.checksum.clone(),
            modified_at: stage.now,
            pieces,
        };
        let answer = part.part(put.number);
        stage.set_part(upload.id.sequence, put.number, Some(Arc::new(part)));
        Ok(answer)
    }

    fn stored(&mut self) {
        self.0.content.in_flight.referred();
    }
}

impl Mutation for AbortUpload {
    type Answer = ();

    fn needs(&self, _: &Stage) -> Vec<Need> {
        vec![Need::Upload(self.0.id.sequence), Need::Parts(self.0.id.sequence)]
    }

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let bucket = stage.bucket(&self.0.bucket)?;
        let upload = find(stage, &self.0)?.ok_or(Refusal::NoSuchUpload)?;
        let parts = stage.parts(upload.id.sequence)?.clone();

        stage.next_sequence();
        let uploading_bytes = parts.values().map(|part| part.size as i64).sum();
        let gone = Statistic { uploading_bytes, uploads: 1, ..Statistic::default() };
        stage.count(bucket.id, Statistic::default(), gone);
        parts.values().flat_map(|part| &part.pieces).for_each(|piece| stage.release(piece));
        stage.set_upload(upload.id.sequence, None);
        Ok(())
    }
}

/// An upload, where the id is its own and it is for this bucket and key.
pub(super) fn find(stage: &Stage, named: &UploadRef) -> Result<Option<Arc<UploadRow>>, Stop> {
    let bucket = stage.bucket(&named.bucket)?;
    let upload = stage.upload(named.id.sequence)?;
    Ok(upload.filter(|upload| upload.id == named.id && upload.bucket == bucket.id && upload.key == named.key))
}

impl UploadRow {
    pub fn upload(&self) -> Upload {
        Upload {
            id: self.id,
            key: self.key.clone(),
            created_at: self.record.created_at,
            attributes: self.record.attributes.clone(),
        }
    }
}

impl StoredPart {
    pub fn part(&self, number: u32) -> Part {
        Part {
            number,
            size: self.size,
            etag: self.etag,
            checksum: self.checksum.clone(),
            modified_at: self.modified_at,
        }
    }
}
