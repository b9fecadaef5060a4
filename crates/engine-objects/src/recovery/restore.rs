//! An instance's buckets put together beside those that are served, and exchanged for them in one step.

use futures::stream::TryStreamExt;
use mainstay_bucket::BucketName;
use mainstay_dataplane::{Compression, Expect, Source};
use mainstay_engine::recovery::{Archive, Backup};
use mainstay_engine::supervise::Removal;
use mainstay_engine::{EngineError, InstanceSpec};
use mainstay_objects::{Content, Entry, Error, Import, Ingest, Limits, NewBucket, Objects, Piece, Record, Refusal};
use mainstay_types::InstanceId;

use super::index;
use crate::engine::ObjectStoreEngine;
use crate::{fault, names};

const WHAT: &str = "the objects could not be restored";
/// Versions that come back at the same time, so that they share the index's fsyncs.
const AT_ONCE: usize = 32;
/// How often a version is imported again whose content was given up between the look at it and the import.
const TRIES: usize = 3;

pub(super) async fn restore(
    engine: &ObjectStoreEngine,
    instance: &InstanceSpec,
    origin: &InstanceId,
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    if engine.objects.account(&instance.id).is_none() {
        return Err(EngineError::transient(format!("instance {} is not in the object store", instance.id)));
    }
    archive.progress.stage("reading the backup");
    let (scratch, removal) = scratch_account(engine).await?;
    let restored = fill(engine, instance, origin, &scratch, backup, archive).await;
    archive.progress.stage("removing what was replaced");
    removal.now().await;
    restored
}

/// An account that is removed at the end, with whatever is in it then.
async fn scratch_account(engine: &ObjectStoreEngine) -> Result<(InstanceId, Removal), EngineError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    let id = names::scratch_account(u32::from_be_bytes(random));
    let (objects, account, in_use) = (engine.objects.clone(), id.clone(), engine.scratch.in_use.clone());
    engine.scratch.in_use().insert(id.clone());
    let removal = engine.scratch.removals.at_end(async move {
        match objects.remove_account(&account).await {
            Ok(()) | Err(Error::Refused(Refusal::NoSuchAccount)) => {}
            Err(error) => tracing::warn!(%account, %error, "what a restore replaced is left in the object store"),
        }
        in_use.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&account);
    });
    let limits = Limits { buckets: u32::MAX, bytes: None, objects: None };
    match engine.objects.put_account(&id, limits).await {
        Ok(()) => Ok((id, removal)),
        Err(error) => {
            removal.now().await;
            Err(fault::of_index(WHAT)(error))
        }
    }
}

async fn fill(
    engine: &ObjectStoreEngine,
    instance: &InstanceSpec,
    origin: &InstanceId,
    scratch: &InstanceId,
    backup: &Backup,
    archive: &Archive,
) -> Result<(), EngineError> {
    let objects = &engine.objects;
    let mut names = Vec::<(BucketName, BucketName)>::new();
    let mut records = index::read(backup, archive).await?;
    let mut importing = Vec::with_capacity(AT_ONCE);
    let mut imported = 0;
    while let Some(record) = records.try_next().await? {
        let entry = match record {
            Record::Entry(entry) => entry,
            Record::Bucket { name, settings } => {
                imported += import_all(objects, archive, &names, &mut importing).await?;
                let bucket = names::scratch_bucket(scratch, names.len());
                let new = NewBucket { name: bucket.clone(), account: scratch.clone(), settings: *settings };
                objects.create_bucket(new).await.map_err(fault::of_index(WHAT))?;
                names.push((bucket, names::restored(&name, instance, origin)));
                continue;
            }
            Record::End { entries } => {
                imported += import_all(objects, archive, &names, &mut importing).await?;
                if imported != entries {
                    return Err(EngineError::permanent(
                        format!("the index of the backup has {imported} entries, and says that it has {entries}"),
                        "restore another backup",
                    ));
                }
                continue;
            }
        };
        importing.push(entry);
        if importing.len() == AT_ONCE {
            imported += import_all(objects, archive, &names, &mut importing).await?;
        }
    }
    archive.progress.stage("exchanging the buckets");
    let primary = names::bucket(instance);
    if !names.iter().any(|(_, name)| *name == primary) {
        return Err(EngineError::permanent(
            format!("the backup has no bucket that could become {primary}"),
            "restore a backup of an instance that had its bucket",
        ));
    }
    objects.exchange(&instance.id, scratch, names).await.map_err(fault::of_index(WHAT))
}

/// Imports what has gathered into the newest bucket, and answers how much that was.
async fn import_all(
    objects: &Objects,
    archive: &Archive,
    names: &[(BucketName, BucketName)],
    importing: &mut Vec<Entry>,
) -> Result<u64, EngineError> {
    let count = importing.len() as u64;
    if let Some((bucket, _)) = names.last() {
        let imports = importing.drain(..).map(|entry| import(objects, archive, bucket, entry));
        futures::future::try_join_all(imports).await?;
    }
    Ok(count)
}

async fn import(objects: &Objects, archive: &Archive, bucket: &BucketName, entry: Entry) -> Result<(), EngineError> {
    let mut tries = 0;
    loop {
        let mut contents = Vec::with_capacity(entry.pieces().len());
        for piece in entry.pieces() {
            contents.push(content(objects, archive, bucket, &entry, piece).await?);
        }
        tries += 1;
        match objects.import(Import { bucket: bucket.clone(), entry: entry.clone(), contents }).await {
            Err(Error::Refused(Refusal::SourceGone)) if tries < TRIES => {}
            imported => return imported.map_err(fault::of_index(WHAT)),
        }
    }
}

/// A content that is here already and whole, or that of the archive.
async fn content(
    objects: &Objects,
    archive: &Archive,
    bucket: &BucketName,
    entry: &Entry,
    piece: &Piece,
) -> Result<Content, EngineError> {
    let here = objects.content_at_hand(piece).await;
    if let Some(content) = here.map_err(|error| EngineError::transient_from(WHAT, error))? {
        return Ok(content);
    }
    let name = format!("content {} of {}", piece.address, entry.key);
    let kept = archive.serve(&name, piece.address).await?;
    let source: Source = Box::pin(kept.map_err(mainstay_dataplane::SourceError::from));
    let encrypt = match &entry.entry {
        mainstay_objects::VersionEntry::Version(version) => version.attributes.encrypted,
        mainstay_objects::VersionEntry::Marker { .. } => false,
    };
    let expect = Expect { size: Some(piece.size), ..Expect::default() };
    let ingest = Ingest { source, expect, md5: false, encrypt, compression: Compression::None };
    let content = objects.ingest(bucket, ingest).await.map_err(of_ingest)?;
    match content.address() {
        Some(address) if address == piece.address => Ok(content),
        _ => Err(EngineError::transient(format!("{name} became another one on its way"))),
    }
}

/// What the archive says of its own content stays as it was.
fn of_ingest(error: mainstay_objects::IngestError) -> EngineError {
    use mainstay_dataplane::IngestError as Plane;
    match error {
        mainstay_objects::IngestError::DataPlane(Plane::Source(source)) => match source.downcast::<EngineError>() {
            Ok(error) => *error,
            Err(source) => EngineError::transient_from(WHAT, source),
        },
        error => fault::of_ingest(WHAT)(error),
    }
}
