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

    /// Whether what is there may be deleted. Deleting what is not there succeeds where nothing is demanded of it.
    pub fn check_delete(&self, existing: Option<&Existing>) -> Result<(), Refused> {
        let demanded = self.if_match.is_some() || self.if_match_size.is_some() || self.if_match_modified.is_some();
        let Some(existing) = existing else {
            return if demanded { Err(Refused::Absent) } else { Ok(()) };
        };
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

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{Conditions, EntityTags, Existing, Read, Refused};
    use crate::ETag;

    const ETAG: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

    fn existing() -> Existing {
        let etag: ETag = ETAG.parse().unwrap();
        // Within the second 1000.
        Existing { etag, modified: Timestamp::from_micros(1_000_500_000), size: 7 }
    }

    fn conditions(text: &str) -> Conditions {
        let mut conditions = Conditions::default();
        for (name, value) in text.split("; ").filter_map(|part| part.split_once(": ")) {
            let seconds = || Some(Timestamp::EPOCH.plus_seconds(value.parse().unwrap()));
            match name {
                "match" => conditions.if_match = Some(EntityTags::parse(value)),
                "none-match" => conditions.if_none_match = Some(EntityTags::parse(value)),
                "modified" => conditions.if_modified_since = seconds(),
                "unmodified" => conditions.if_unmodified_since = seconds(),
                "match-modified" => conditions.if_match_modified = seconds(),
                "match-size" => conditions.if_match_size = Some(value.parse().unwrap()),
                other => panic!("there is no {other}"),
            }
        }
        conditions
    }

    #[test]
    fn reads() {
        let bare = ETAG.trim_matches('"');
        let cases = [
            (String::new(), Read::Serve),
            (format!("match: {ETAG}"), Read::Serve),
            (format!("match: {bare}"), Read::Serve),
            ("match: *".to_owned(), Read::Serve),
            (format!("match: \"x\", {ETAG}"), Read::Serve),
            ("match: ABCORZ".to_owned(), Read::Failed),
            (format!("none-match: {ETAG}"), Read::NotModified),
            (format!("none-match: W/{ETAG}"), Read::NotModified),
            ("none-match: *".to_owned(), Read::NotModified),
            ("none-match: ABCORZ".to_owned(), Read::Serve),
            ("modified: 999".to_owned(), Read::Serve),
            ("modified: 1000".to_owned(), Read::NotModified),
            ("unmodified: 1000".to_owned(), Read::Serve),
            ("unmodified: 999".to_owned(), Read::Failed),
            // The entity tag goes before the date.
            (format!("match: {ETAG}; unmodified: 1"), Read::Serve),
            (format!("none-match: {ETAG}; modified: 1"), Read::NotModified),
            ("none-match: x; modified: 5000".to_owned(), Read::Serve),
            // What fails goes before what was not modified.
            ("match: x; none-match: *".to_owned(), Read::Failed),
        ];
        for (text, expected) in cases {
            assert_eq!(conditions(&text).check_read(&existing()), expected, "{text:?}");
        }
    }

    #[test]
    fn writes() {
        let ok = Ok(());
        let (failed, absent) = (Err(Refused::Failed), Err(Refused::Absent));
        let cases = [
            ("", ok, ok),
            ("none-match: *", failed, ok),
            ("none-match: ABCORZ", ok, ok),
            ("match: *", ok, absent),
            ("match: ABCORZ", failed, absent),
            ("match: d41d8cd98f00b204e9800998ecf8427e", ok, absent),
        ];
        for (text, over, anew) in cases {
            assert_eq!(conditions(text).check_write(Some(&existing())), over, "{text:?}");
            assert_eq!(conditions(text).check_write(None), anew, "{text:?}");
        }
    }

    #[test]
    fn deletions() {
        let ok = Ok(());
        let (failed, absent) = (Err(Refused::Failed), Err(Refused::Absent));
        let cases = [
            ("", ok, ok),
            ("match: *", ok, absent),
            ("match: ABCORZ", failed, absent),
            ("match-size: 7", ok, absent),
            ("match-size: 8", failed, absent),
            ("match-modified: 1000", ok, absent),
            ("match-modified: 1001", failed, absent),
            ("match: *; match-size: 7; match-modified: 999", failed, absent),
        ];
        for (text, there, gone) in cases {
            assert_eq!(conditions(text).check_delete(Some(&existing())), there, "{text:?}");
            assert_eq!(conditions(text).check_delete(None), gone, "{text:?}");
        }
    }
}
