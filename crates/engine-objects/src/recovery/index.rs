//! The index of a backup as a stream: records one after the other, each behind its length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, Backup, Kept};
use mainstay_objects::Record;

/// The part that it is.
pub(super) const INDEX: &str = "index";
/// Bytes of a length.
const LENGTH: usize = 4;
/// The longest record: an object of ten thousand parts has one of about a megabyte.
const LONGEST_RECORD: usize = 64 << 20;

/// Adds a record.
pub(super) fn put(record: &Record, bytes: &mut BytesMut) {
    let record = record.to_bytes();
    bytes.put_u32(u32::try_from(record.len()).expect("a record is far from four gigabytes"));
    bytes.put_slice(&record);
}

/// The records of a backup, in order, the last of which says that it is the end.
pub(super) async fn read(
    backup: &Backup,
    archive: &Archive,
) -> Result<BoxStream<'static, Result<Record, EngineError>>, EngineError> {
    let kept = archive.read(backup.part(INDEX)?).await?;
    let reading = Reading { kept, read: BytesMut::new(), ended: false };
    let records = futures::stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|record| (record, reading)))
    });
    Ok(records.boxed())
}

struct Reading {
    kept: Kept,
    read: BytesMut,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Record>, EngineError> {
        if self.ended {
            return Ok(None);
        }
        self.fill(LENGTH).await?;
        let length = self.read.get_u32() as usize;
        if length > LONGEST_RECORD {
            return Err(damaged(&format!("a record has {length} bytes")));
        }
        self.fill(length).await?;
        let record = Record::from_bytes(&self.read.split_to(length)).map_err(|error| damaged(&error))?;
        self.ended = matches!(record, Record::End { .. });
        Ok(Some(record))
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), EngineError> {
        while self.read.len() < wanted {
            match self.kept.try_next().await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => return Err(damaged(&"it ends early")),
            }
        }
        Ok(())
    }
}

fn damaged(reason: &dyn std::fmt::Display) -> EngineError {
    EngineError::permanent(
        format!("part {INDEX} of the backup can not be read: {reason}"),
        "restore an earlier backup, or with the version of Mainstay that made it",
    )
}

/// The bytes of a body, piece by piece.
pub(super) fn pieces(
    body: mainstay_dataplane::Body,
) -> BoxStream<'static, Result<Bytes, mainstay_dataplane::ServeError>> {
    match body {
        mainstay_dataplane::Body::Whole(bytes) => futures::stream::once(async { Ok(bytes) }).boxed(),
        mainstay_dataplane::Body::Stream(stream) => stream,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_bucket::{LegalHold, Metadata, Tags, VersionId};
    use mainstay_dataplane::Address;
    use mainstay_objects::{Attributes, Contents, Entry, Manifest, ManifestPart, Piece, Record, Version, VersionEntry};
    use mainstay_types::Timestamp;

    fn records() -> Vec<Record> {
        let at = Timestamp::from_micros(1_790_000_000_000_000);
        let piece = |size| Piece { address: Address::of(b"content"), size, key: None };
        let attributes = Attributes {
            etag: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            metadata: Metadata::default(),
            tags: Tags::default(),
            checksum: None,
            retention: None,
            legal_hold: LegalHold::Off,
            encrypted: false,
        };
        let version = |content| {
            let attributes = attributes.clone();
            let (sequence, id) = (9, VersionId::Null);
            VersionEntry::Version(Arc::new(Version { sequence, id, modified_at: at, size: 7, content, attributes }))
        };
        let entry = |key: &str, entry, manifest: Option<Manifest>| {
            Record::Entry(Entry { key: key.parse().unwrap(), latest: true, entry, manifest: manifest.map(Arc::new) })
        };
        let parts = vec![ManifestPart { number: 1, size: 7, checksum: None }];
        let manifest = Manifest { parts, pieces: vec![piece(3), piece(4)] };
        vec![
            Record::Bucket { name: "photos".parse().unwrap(), settings: Box::default() },
            entry("one", version(Contents::One(piece(7))), None),
            entry("many", version(Contents::Many { manifest: 9, upload: None, parts: 1 }), Some(manifest)),
            entry("gone", VersionEntry::Marker { sequence: 9, id: VersionId::Null, modified_at: at }, None),
            Record::End { entries: 3 },
        ]
    }

    /// Backups of the first version are read for ever; the sample is one record a line, in hexadecimal digits.
    #[test]
    fn the_first_version_is_read() {
        let samples = std::fs::read_to_string("tests/it/samples/index-1.txt").unwrap();
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes = |line: &str| -> Vec<u8> { line.as_bytes().chunks(2).map(digits).collect() };
        let read: Vec<_> = samples.lines().map(|line| Record::from_bytes(&bytes(line)).unwrap()).collect();
        assert_eq!(read, records());
        let written: Vec<_> = records().iter().map(Record::to_bytes).collect();
        assert_eq!(samples.lines().map(bytes).collect::<Vec<_>>(), written);
    }
}
