//! A version comes back as it was, and buckets take the place of others.

use std::sync::Arc;

use mainstay_bucket::BucketName;
use mainstay_types::InstanceId;

use super::Mutation;
use super::directory::alone;
use crate::account::Bucket;
use crate::cache::Place;
use crate::directory::Directory;
use crate::error::Refusal;
use crate::request::{Content, Import, Pieces};
use crate::stage::{DirectoryChange, Need, Stage, Statistic, Stop};
use crate::version::{Contents, Manifest, Piece, Version, VersionEntry};

/// Makes a version or a delete marker what it was, its id and times included.
pub(crate) struct ImportEntry(pub Import);

/// Gives buckets of one account the names of another's, and to that account; those that it had go the other way.
pub(crate) struct ExchangeBuckets {
    pub account: InstanceId,
    pub other: InstanceId,
    /// What the other's buckets are called, and what they are to be called.
    pub names: Vec<(BucketName, BucketName)>,
}

impl Mutation for ImportEntry {
    type Answer = ();

    fn needs(&self, _: &Stage) -> Vec<Need> {
        self.known().map(|piece| Need::Content(piece.address)).collect()
    }

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let Self(import) = self;
        let bucket = stage.open_bucket(&import.bucket)?;
        let place: Place = (bucket.id, import.entry.key.clone());
        for piece in self.known() {
            if !stage.content_lives(piece.address)? {
                return Err(Refusal::SourceGone.into());
            }
        }
        let sequence = stage.next_sequence();
        let entry = match &import.entry.entry {
            VersionEntry::Version(version) => {
                let content = self.refer(stage, sequence);
                VersionEntry::Version(Arc::new(Version { content, ..Version::clone(version) }))
            }
            marker @ VersionEntry::Marker { .. } => marker.clone(),
        };
        stage.count(bucket.id, Statistic::of_entry(&entry), Statistic::default());
        match entry {
            VersionEntry::Version(version) if import.entry.latest => stage.set_current(place, Some(version)),
            entry => stage.put_entry(&place, entry),
        }
        Ok(())
    }

    fn stored(&mut self) {
        self.0.contents.iter_mut().for_each(|content| content.in_flight.referred());
    }
}

impl ImportEntry {
    /// Pieces that the index has to know already.
    fn known(&self) -> impl Iterator<Item = &Piece> {
        let manifests = self.0.contents.iter().filter_map(|content| match &content.pieces {
            Pieces::Known(manifest) => Some(manifest),
            Pieces::Fresh(..) => None,
        });
        manifests.flat_map(|manifest| &manifest.pieces)
    }

    fn refer(&self, stage: &mut Stage, sequence: u64) -> Contents {
        let mut pieces = Vec::with_capacity(self.0.contents.len());
        for Content { pieces: of_content, .. } in &self.0.contents {
            match of_content {
                Pieces::Fresh(piece, claim) => {
                    stage.refer(piece, Some(*claim));
                    pieces.push(piece.clone());
                }
                Pieces::Known(manifest) => {
                    manifest.pieces.iter().for_each(|piece| stage.refer(piece, None));
                    pieces.extend(manifest.pieces.iter().cloned());
                }
            }
        }
        match (&self.0.entry.manifest, pieces.as_slice()) {
            (None, [piece]) => Contents::One(piece.clone()),
            (manifest, _) => {
                let parts = manifest.as_ref().map(|manifest| manifest.parts.clone()).unwrap_or_default();
                let count = parts.len() as u32;
                // Under a number of its own: the version that it was may be there still, in another bucket.
                stage.put_manifest(sequence, Arc::new(Manifest { parts, pieces }));
                Contents::Many { manifest: sequence, upload: None, parts: count }
            }
        }
    }
}

impl Mutation for ExchangeBuckets {
    type Answer = ();

    fn needs(&self, _: &Stage) -> Vec<Need> {
        Vec::new()
    }

    fn decide(&self, stage: &mut Stage) -> Result<(), Stop> {
        let mut directory = alone(stage)?;
        for id in [&self.account, &self.other] {
            directory.account(id).filter(|account| !account.closing).ok_or(Refusal::NoSuchAccount)?;
        }
        let going: Vec<_> = directory.buckets_of(&self.account).cloned().collect();
        let mut changed = Vec::with_capacity(going.len() + self.names.len());
        // What goes first makes room for the names of what comes.
        for bucket in going {
            let aside =
                format!("replaced-{:x}", bucket.id.0).parse().expect("letters, digits and a hyphen name a bucket");
            changed.push(rename(&mut directory, &bucket, aside, &self.other));
        }
        for (name, wanted) in &self.names {
            let bucket = directory.bucket(name).filter(|bucket| bucket.account == self.other).cloned();
            let bucket = bucket.ok_or(Refusal::NoSuchBucket)?;
            if directory.bucket(wanted).is_some() {
                return Err(Refusal::BucketExists.into());
            }
            changed.push(rename(&mut directory, &bucket, wanted.clone(), &self.account));
        }
        stage.set_directory(directory, DirectoryChange::MoveBuckets(changed));
        Ok(())
    }
}

fn rename(directory: &mut Directory, bucket: &Arc<Bucket>, name: BucketName, account: &InstanceId) -> Arc<Bucket> {
    let renamed = Arc::new(Bucket { name, account: account.clone(), ..Bucket::clone(bucket) });
    directory.remove_bucket(&bucket.name);
    directory.put_bucket(renamed.clone());
    renamed
}
