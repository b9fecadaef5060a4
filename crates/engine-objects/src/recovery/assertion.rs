//! What owners assert of their objects. Pure.
//!
//! ```text
//! size KEY    the object's bytes, as a number
//! etag KEY    its ETag, without quotes
//! text KEY    what is in it, where that is a little text
//! ```
//!
//! A key is one of the bucket that the instance was provided with; `s3://BUCKET/KEY` names one of another bucket.

use mainstay_bucket::BucketName;

/// The longest content that is compared as text.
pub(super) const LONGEST_TEXT: u64 = 64 << 10;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub asked: Asked,
    /// The provided one where there is none.
    pub bucket: Option<BucketName>,
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Size,
    ETag,
    Text,
}

impl Question {
    /// Reads one.
    pub fn parse(query: &str) -> Result<Self, String> {
        let unknown = || format!("{query:?} is none of `size KEY`, `etag KEY` and `text KEY`");
        let (verb, object) = query.trim().split_once(' ').ok_or_else(unknown)?;
        let asked = match verb {
            "size" => Asked::Size,
            "etag" => Asked::ETag,
            "text" => Asked::Text,
            _ => return Err(unknown()),
        };
        match object.strip_prefix("s3://") {
            None => Ok(Self { asked, bucket: None, key: object.to_owned() }),
            Some(path) => {
                let (bucket, key) = path.split_once('/').ok_or_else(unknown)?;
                let bucket = bucket.parse().map_err(|error| format!("{error}"))?;
                Ok(Self { asked, bucket: Some(bucket), key: key.to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Question};

    #[test]
    fn questions() {
        let question = |asked, bucket: Option<&str>, key: &str| {
            Some(Question { asked, bucket: bucket.map(|name| name.parse().unwrap()), key: key.to_owned() })
        };
        for (query, expected) in [
            ("size a", question(Asked::Size, None, "a")),
            ("etag a b/c", question(Asked::ETag, None, "a b/c")),
            ("text s3://photos/a/b", question(Asked::Text, Some("photos"), "a/b")),
            ("text s3://photos", None),
            ("delete a", None),
            ("size", None),
        ] {
            assert_eq!(Question::parse(query).ok(), expected, "{query}");
        }
    }
}
