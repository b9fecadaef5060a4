//! All that the index says of an instance's buckets, as records that last longer than the index: what a backup of them keeps beside
//! the contents.
//!
//! ```text
//! bucket, its versions, the newest of each key first; the next bucket, its versions; ...; the end
//! ```

use std::sync::Arc;

use mainstay_bucket::{BucketName, ObjectKey, Settings};
use minicbor::decode::Error;
use minicbor::{Decode, Encode};

use crate::stored::{self, StoredEntry};
use crate::version::{Contents, Manifest, Piece, VersionEntry};

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Those that follow are in this bucket.
    Bucket {
        name: BucketName,
        settings: Box<Settings>,
    },
    Entry(Entry),
    /// There are no more.
    End {
        entries: u64,
    },
}

/// A version or a delete marker, with all that it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: ObjectKey,
    /// Whether it is the newest of its key.
    pub latest: bool,
    pub entry: VersionEntry,
    /// Of a version that was put in parts.
    pub manifest: Option<Arc<Manifest>>,
}

/// A record as it is kept.
#[derive(Debug, Encode, Decode)]
enum StoredRecord {
    #[n(0)]
    Bucket {
        #[n(0)]
        name: String,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        settings: Vec<u8>,
    },
    #[n(1)]
    Entry {
        #[n(0)]
        key: String,
        #[n(1)]
        latest: bool,
        #[n(2)]
        entry: StoredEntry,
        #[n(3)]
        manifest: Option<Manifest>,
    },
    #[n(2)]
    End {
        #[n(0)]
        entries: u64,
    },
}

impl Record {
    /// Its bytes, which tell the version of their form.
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::encode(&match self {
            Self::Bucket { name, settings } => {
                StoredRecord::Bucket { name: name.as_str().to_owned(), settings: settings.to_cbor() }
            }
            Self::Entry(Entry { key, latest, entry, manifest }) => StoredRecord::Entry {
                key: key.as_str().to_owned(),
                latest: *latest,
                entry: StoredEntry::of(entry),
                manifest: manifest.as_deref().cloned(),
            },
            Self::End { entries } => StoredRecord::End { entries: *entries },
        })
    }

    /// Reads what this version or an earlier one wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(match stored::decode(bytes)? {
            StoredRecord::Bucket { name, settings } => Self::Bucket {
                name: name.parse().map_err(Error::custom)?,
                settings: Box::new(Settings::from_cbor(&settings).map_err(Error::custom)?),
            },
            StoredRecord::Entry { key, latest, entry, manifest } => Self::Entry(Entry {
                key: key.parse().map_err(Error::custom)?,
                latest,
                entry: entry.entry(),
                manifest: manifest.map(Arc::new),
            }),
            StoredRecord::End { entries } => Self::End { entries },
        })
    }
}

impl Entry {
    /// The contents that it is made of, in order; none of a delete marker.
    pub fn pieces(&self) -> &[Piece] {
        match (&self.entry, &self.manifest) {
            (VersionEntry::Marker { .. }, _) => &[],
            (VersionEntry::Version(_), Some(manifest)) => &manifest.pieces,
            (VersionEntry::Version(version), None) => match &version.content {
                Contents::One(piece) => std::slice::from_ref(piece),
                Contents::Many { .. } => &[],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_bucket::{LegalHold, Metadata, Tags, VersionId};
    use mainstay_dataplane::Address;
    use mainstay_types::Timestamp;

    use super::{Entry, Record};
    use crate::version::{Attributes, Contents, Manifest, ManifestPart, Piece, Version, VersionEntry};

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

    #[test]
    fn records_are_read_as_they_were_written() {
        for record in records() {
            assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
        }
        assert!(Record::from_bytes(&[2, 0]).is_err(), "a later version's record is refused");
    }

    #[test]
    fn pieces_are_those_of_the_version() {
        let pieces = records().into_iter().filter_map(|record| match record {
            Record::Entry(entry) => Some(entry.pieces().len()),
            _ => None,
        });
        assert_eq!(pieces.collect::<Vec<_>>(), [1, 2, 0]);
    }
}
