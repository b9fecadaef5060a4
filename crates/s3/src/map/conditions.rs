//! Preconditions.

use hyper::HeaderMap;
use mainstay_bucket::Conditions;
use mainstay_bucket::conditions::EntityTags;
use s3s::dto::{CopyObjectInput, ETagCondition, Timestamp, UploadPartCopyInput};

use super::time::moment;
use crate::error::Result;

/// The entity tags of a header as s3s has read it.
pub fn tags_of(condition: Option<&ETagCondition>) -> Option<EntityTags> {
    let text = |etag: &s3s::dto::ETag| etag.value().to_owned();
    condition.map(|condition| match condition.as_etag() {
        None => EntityTags::Any,
        Some(etag) => EntityTags::Of(vec![text(etag)]),
    })
}

/// Of a read: all that HTTP has. s3s reads a list of tags as one.
pub fn read_conditions(
    headers: &HeaderMap,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> Result<Conditions> {
    Ok(Conditions {
        if_modified_since: if_modified_since.map(moment).transpose()?,
        if_unmodified_since: if_unmodified_since.map(moment).transpose()?,
        ..tag_conditions(headers)
    })
}

/// Of a write, read from the headers too: s3s does not tell them of a copy.
pub fn tag_conditions(headers: &HeaderMap) -> Conditions {
    let tags = |name: &str| headers.get(name).map(|value| EntityTags::parse(value.to_str().unwrap_or_default()));
    Conditions { if_match: tags("if-match"), if_none_match: tags("if-none-match"), ..Conditions::default() }
}

/// Conditions on the source of a copy.
pub trait CopySourceConditions {
    fn conditions(&self) -> Result<Conditions>;
}

macro_rules! copy_source_conditions {
    ($($input:ty),*) => {
        $(impl CopySourceConditions for $input {
            fn conditions(&self) -> Result<Conditions> {
                Ok(Conditions {
                    if_match: tags_of(self.copy_source_if_match.as_ref()),
                    if_none_match: tags_of(self.copy_source_if_none_match.as_ref()),
                    if_modified_since: self.copy_source_if_modified_since.as_ref().map(moment).transpose()?,
                    if_unmodified_since: self.copy_source_if_unmodified_since.as_ref().map(moment).transpose()?,
                    ..Conditions::default()
                })
            }
        })*
    };
}

copy_source_conditions!(CopyObjectInput, UploadPartCopyInput);

/// What a copy demands of its source.
pub fn copy_conditions(input: &impl CopySourceConditions) -> Result<Conditions> {
    input.conditions()
}
