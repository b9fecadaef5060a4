//! Conditional requests (RFC 9110, section 13), as Amazon S3 answers them.

use mainstay_types::Timestamp;

use crate::ETag;

/// What a request demands of the object before it is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<EntityTags>,
    pub if_none_match: Option<EntityTags>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
    /// Of a deletion: `x-amz-if-match-size`.
    pub if_match_size: Option<u64>,
    /// Of a deletion: `x-amz-if-match-last-modified-time`.
    pub if_match_modified: Option<Timestamp>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: whatever is there.
    Any,
    /// Their texts without quotes.
    Of(Vec<String>),
}

/// The object that a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existing {
    pub etag: ETag,
    pub modified: Timestamp,
    pub size: u64,
}

/// What comes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Serve,
    /// Status 304: the client has it.
    NotModified,
    /// Status 412.
    Failed,
}

/// Why a write is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Status 412.
    #[error("at least one of the pre-conditions you specified did not hold")]
    Failed,
    /// Status 404: `If-Match` names an object, and there is none.
    #[error("there is no object for the pre-condition to hold of")]
    Absent,
}

impl Conditions {
    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What comes of reading an object that is there, in the order of RFC 9110, section 13.2.2.
    pub fn check_read(&self, existing: &Existing) -> Read {
        if !self.unchanged(existing) {
            return Read::Failed;
        }
        if self.changed(existing) { Read::Serve } else { Read::NotModified }
    }

    /// Whether an object may be copied from: `x-amz-copy-source-if-...`, where nothing answers 304.
    pub fn check_copy_source(&self, existing: &Existing) -> Result<(), Refused> {
        if self.unchanged(existing) && self.changed(existing) { Ok(()) } else { Err(Refused::Failed) }
    }

    /// Whether an object may be put, or an upload completed, over what is there. A delete marker is nothing.
    pub fn check_write(&self, existing: Option<&Existing>) -> Result<(), Refused> {
        match existing {
            Some(existing) => self.check_copy_source(existing),
            None if self.if_match.is_some() => Err(Refused::Absent),
            None => Ok(()),
        }
    }

    /// Whether what is there may be deleted. Deleting what is not there succeeds, as without conditions.
    pub fn check_delete(&self, existing: Option<&Existing>) -> Result<(), Refused> {
        let Some(existing) = existing else { return Ok(()) };
        let size = self.if_match_size.is_none_or(|size| size == existing.size);
        // The header has whole seconds.
        let second = existing.modified.whole_seconds();
        let modified = self.if_match_modified.is_none_or(|modified| modified.whole_seconds() == second);
        if size && modified { self.check_copy_source(existing) } else { Err(Refused::Failed) }
    }

    fn unchanged(&self, existing: &Existing) -> bool {
        match (&self.if_match, self.if_unmodified_since) {
            // Where there are entity tags the date is not asked.
            (Some(tags), _) => tags.contain(&existing.etag),
            (None, Some(since)) => existing.modified.whole_seconds() <= since,
            (None, None) => true,
        }
    }

    fn changed(&self, existing: &Existing) -> bool {
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => !tags.contain(&existing.etag),
            (None, Some(since)) => existing.modified.whole_seconds() > since,
            (None, None) => true,
        }
    }
}

impl EntityTags {
    /// Reads a header. Clients of S3 send tags with and without quotes.
    pub fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        let bare = |tag: &str| {
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(strong).to_owned()
        };
        Self::Of(header.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(bare).collect())
    }

    fn contain(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.contains(&etag.to_string()),
        }
    }
}
