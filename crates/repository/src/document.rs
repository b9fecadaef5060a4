//! Documents: small, sealed, named records, which may be replaced.

use bytes::Bytes;
use mainstay_dataplane::Trouble;
use mainstay_types::Timestamp;

use crate::format;
use crate::inner::Inner;
use crate::keys::{Keys, Place};

pub(crate) const DOCUMENTS: &str = "documents/";

/// What is longer is content, and its address stands in a document.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// The longest part of a name: the most that file systems take, with room for what sync tools append.
const LONGEST_PART: usize = 200;

/// Parts of a kind at most.
const MOST_PARTS: usize = 4;

/// The form of what is sealed, and bytes before the document: the form, and when it was written.
const VERSION: u8 = 1;
const HEAD_LEN: usize = 9;

/// Why a document was not kept, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error(
        "{text:?} cannot name a document: use up to {LONGEST_PART} of the characters A-Z a-z 0-9 . _ -, beginning with a \
         letter or digit; a kind may have {MOST_PARTS} such parts with slashes between"
    )]
    Name { text: String },
    #[error(
        "the document {name} has {len} bytes, and documents have {MAX_DOCUMENT} at most: keep it as content, and its \
         address in a document"
    )]
    TooLarge { name: String, len: usize },
    #[error("the document {name} is damaged: {reason}; restore it from another copy of the repository")]
    Damaged { name: String, reason: String },
    #[error(
        "the document {name} is kept until {until}: the repository removes nothing younger than its immutable period"
    )]
    Immutable { name: String, until: Timestamp },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// A document as it lies there.
pub(crate) struct Document {
    pub(crate) written_at: Timestamp,
    pub(crate) bytes: Bytes,
}

impl Inner {
    pub(crate) async fn put_document(&self, kind: &str, name: &str, bytes: Bytes) -> Result<(), DocumentError> {
        let name = named(kind, name)?;
        self.still_keeps().await?;
        if bytes.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge { name, len: bytes.len() });
        }
        let mut sealed = Vec::new();
        self.keys.seal(Place::Document(&name), &mut sealed, |out| {
            out.push(VERSION);
            out.extend_from_slice(&Timestamp::now().as_micros().to_le_bytes());
            out.extend_from_slice(&bytes);
        });
        self.files.write(&path(&name), sealed.into()).await.map_err(Trouble::from)?;
        Ok(())
    }

    pub(crate) async fn document(&self, kind: &str, name: &str) -> Result<Option<Document>, DocumentError> {
        let name = named(kind, name)?;
        let path = path(&name);
        let read = || self.files.read(&path, None);
        let mut found = read().await.map_err(Trouble::from)?;
        if found.is_none() {
            self.is_there().await?;
            found = read().await.map_err(Trouble::from)?;
        }
        let Some(sealed) = found else { return Ok(None) };
        match open(&self.keys, &name, sealed) {
            Ok(document) => Ok(Some(document)),
            Err(reason) => Err(DocumentError::Damaged { name, reason }),
        }
    }

    pub(crate) async fn documents(&self, kind: &str) -> Result<Vec<String>, DocumentError> {
        if !is_kind(kind) {
            return Err(DocumentError::Name { text: shown(kind) });
        }
        let folder = format!("{DOCUMENTS}{kind}/");
        let list = || self.files.list(&folder);
        let mut listed = list().await.map_err(Trouble::from)?;
        if listed.is_empty() {
            self.is_there().await?;
            listed = list().await.map_err(Trouble::from)?;
        }
        let names = listed.into_iter().filter_map(|file| file.path.strip_prefix(&folder).map(str::to_owned));
        // Kinds may lie below kinds.
        Ok(names.filter(|name| is_part(name)).collect())
    }

    /// Whether nothing is there because there is nothing: a disk that is not mounted looks the same.
    async fn is_there(&self) -> Result<(), Trouble> {
        if self.files.read(format::FILE, None).await?.is_some() {
            return Ok(());
        }
        Err(self.is_away())
    }

    /// Nobody waits for a copy or for room that is given back meanwhile: neither needs a document to stay.
    pub(crate) async fn remove_document(&self, kind: &str, name: &str) -> Result<bool, DocumentError> {
        self.still_keeps().await?;
        match self.document(kind, name).await {
            Ok(None) => return Ok(false),
            Ok(Some(document)) => {
                if let Some(until) = self.immutable_until(document.written_at, Timestamp::now()) {
                    return Err(DocumentError::Immutable { name: named(kind, name)?, until });
                }
            }
            // What is damaged can be removed.
            Err(DocumentError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        self.files.remove(&path(&named(kind, name)?)).await.map_err(Trouble::from)?;
        Ok(true)
    }
}

/// Opens what lies in the file of a document; otherwise why it cannot be read.
pub(crate) fn open(keys: &Keys, name: &str, mut sealed: Vec<u8>) -> Result<Document, String> {
    let opened = keys.open(Place::Document(name), &mut sealed);
    let opened = opened.ok_or("it does not open with the repository's key: bytes have changed")?;
    let (head, bytes) = opened.split_first_chunk::<HEAD_LEN>().ok_or("it is too short")?;
    let [version, written_at @ ..] = *head;
    if version != VERSION {
        return Err(format!("it has version {version}, and this version of Mainstay reads {VERSION}"));
    }
    let written_at = Timestamp::from_micros(i64::from_le_bytes(written_at));
    Ok(Document { written_at, bytes: Bytes::copy_from_slice(bytes) })
}

fn path(name: &str) -> String {
    format!("{DOCUMENTS}{name}")
}

fn named(kind: &str, name: &str) -> Result<String, DocumentError> {
    let whole = format!("{kind}/{name}");
    if is_kind(kind) && is_part(name) { Ok(whole) } else { Err(DocumentError::Name { text: shown(&whole) }) }
}

fn shown(text: &str) -> String {
    text.chars().take(2 * LONGEST_PART).collect()
}

fn is_kind(kind: &str) -> bool {
    kind.split('/').all(is_part) && kind.split('/').count() <= MOST_PARTS
}

fn is_part(part: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    begins && part.len() <= LONGEST_PART && part.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names_are_plain() {
        for (kind, name) in [("points", "a"), ("log/pg-main", "000000010000000000000001.partial"), ("a/b/c/d", "e_1")] {
            assert_eq!(named(kind, name).unwrap(), format!("{kind}/{name}"));
        }
        let long = "x".repeat(201);
        for (kind, name) in [
            ("", "a"),
            ("a", ""),
            ("a", ".."),
            ("..", "a"),
            ("a/", "b"),
            ("/a", "b"),
            ("a", "b/c"),
            ("a", "b c"),
            ("a", "-b"),
            ("a", &long),
            ("a/b/c/d/e", "f"),
            ("ä", "b"),
        ] {
            assert!(named(kind, name).is_err(), "{kind}/{name}");
        }
    }
}
