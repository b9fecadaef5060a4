//! Tags.

use mainstay_bucket::Tags;
use s3s::dto::{Tag, TagSet, Tagging};

use crate::error::{Failure, Result};

pub fn object_tags(tagging: Tagging) -> Result<Tags> {
    Ok(Tags::of_object(pairs(tagging.tag_set)?)?)
}

pub fn bucket_tags(tagging: Tagging) -> Result<Tags> {
    Ok(Tags::of_bucket(pairs(tagging.tag_set)?)?)
}

/// What the header `x-amz-tagging` tells.
pub fn header_tags(header: Option<&str>) -> Result<Tags> {
    Ok(header.map(Tags::from_header).transpose()?.unwrap_or_default())
}

pub fn tags_told(tags: &Tags) -> TagSet {
    let told = |(key, value): (&str, &str)| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
    tags.iter().map(told).collect()
}

pub(super) fn pairs(tags: TagSet) -> Result<Vec<(String, String)>> {
    let pair = |tag: Tag| Some((tag.key?, tag.value?));
    let pairs: Option<Vec<_>> = tags.into_iter().map(pair).collect();
    pairs.ok_or_else(|| Failure::malformed_xml("A tag has no key or no value"))
}
