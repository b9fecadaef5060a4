//! Listing objects and versions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstay_objects::{Bucket, ListQuery, ListedVersion, Version, VersionEntry, VersionsQuery};
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, DeleteMarkerEntry, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Api, bucket_of, version_of};
use crate::error::{Failure, Result};
use crate::map;

/// Entries of one page at most, as in Amazon S3.
const LONGEST_PAGE: i32 = 1000;

/// How texts are written in a listing: as they are, or so that they fit into any XML.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub fn of(asked: Option<&EncodingType>) -> Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(Failure::invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    pub fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => encoded(text),
        }
    }

    pub fn told(self) -> Option<EncodingType> {
        match self {
            Self::Plain => None,
            Self::Url => Some(EncodingType::from_static(EncodingType::URL)),
        }
    }

    pub fn prefixes(self, prefixes: &[String]) -> Option<Vec<CommonPrefix>> {
        let told = |prefix: &String| CommonPrefix { prefix: Some(self.write(prefix)) };
        (!prefixes.is_empty()).then(|| prefixes.iter().map(told).collect())
    }
}

/// Percent-encoded but for what RFC 3986, section 2.3, never needs to be, and slashes.
fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

/// The length of a page that is asked for, and how it is told.
pub(super) fn page_length(asked: Option<i32>, what: &str) -> Result<(usize, i32)> {
    let asked = asked.unwrap_or(LONGEST_PAGE);
    let told = asked.min(LONGEST_PAGE);
    let length = usize::try_from(told);
    Ok((
        length.map_err(|_| {
            Failure::invalid_argument(format!("Argument {what} must be an integer between 0 and 2147483647"))
        })?,
        told,
    ))
}

/// A delimiter that is not empty.
pub(super) fn delimiter_of(asked: Option<&String>) -> Option<String> {
    asked.filter(|delimiter| !delimiter.is_empty()).cloned()
}

pub async fn list_objects(api: &Api, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (limit, max_keys) = page_length(input.max_keys, "maxKeys")?;
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter_of(input.delimiter.as_ref()),
        after: input.marker.clone().filter(|marker| !marker.is_empty()),
        limit,
    };
    let delimited = query.delimiter.is_some();
    let page = api.objects.list(&bucket.name, query).await?;
    let contents: Vec<_> =
        page.objects.iter().map(|(key, version)| object(key.as_str(), version, encoding, Some(&bucket))).collect();
    let truncated = page.next.is_some() && limit > 0;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.write(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(truncated),
        contents: Some(contents),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: delimiter_of(input.delimiter.as_ref()).map(|delimiter| encoding.write(&delimiter)),
        // Without a delimiter the last key is the next marker, which clients know.
        next_marker: page.next.filter(|_| truncated && delimited).map(|next| encoding.write(&next)),
        encoding_type: encoding.told(),
        request_charged: None,
    }))
}

pub async fn list_objects_v2(api: &Api, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (limit, max_keys) = page_length(input.max_keys, "max-keys")?;
    let token = input.continuation_token.as_ref().filter(|token| !token.is_empty());
    let after = match token {
        Some(token) => Some(read_token(token)?),
        None => input.start_after.clone().filter(|after| !after.is_empty()),
    };
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter_of(input.delimiter.as_ref()),
        after,
        limit,
    };
    let page = api.objects.list(&bucket.name, query).await?;
    let owner = (input.fetch_owner == Some(true)).then_some(&*bucket);
    let contents: Vec<_> =
        page.objects.iter().map(|(key, version)| object(key.as_str(), version, encoding, owner)).collect();
    let count = contents.len() + page.prefixes.len();
    let next = page.next.filter(|_| limit > 0);
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(bucket.name.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        max_keys: Some(max_keys),
        key_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
        continuation_token: input.continuation_token.clone(),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|next| URL_SAFE_NO_PAD.encode(next)),
        contents: Some(contents),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: delimiter_of(input.delimiter.as_ref()).map(|delimiter| encoding.write(&delimiter)),
        encoding_type: encoding.told(),
        start_after: input.start_after.as_deref().map(|after| encoding.write(after)),
        request_charged: None,
    }))
}

/// The key that a page ended with.
fn read_token(token: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Failure::invalid_argument("The continuation token provided is incorrect"))
}

fn object(key: &str, version: &Version, encoding: Encoding, owner: Option<&Bucket>) -> Object {
    let checksum = version.attributes.checksum.as_ref();
    Object {
        key: Some(encoding.write(key)),
        e_tag: Some(map::etag(&version.attributes.etag)),
        last_modified: Some(map::timestamp(version.modified_at)),
        size: Some(map::size(version.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: owner.map(|bucket| map::owner(&bucket.account)),
        checksum_algorithm: checksum
            .map(|checksum| vec![ChecksumAlgorithm::from_static(checksum.algorithm().as_str())]),
        checksum_type: map::checksum_kind(checksum),
        restore_status: None,
    }
}

pub async fn list_object_versions(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let input = &request.input;
    let bucket = bucket_of(&request)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (limit, max_keys) = page_length(input.max_keys, "max-keys")?;
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    let version_marker = version_of(input.version_id_marker.as_deref().filter(|marker| !marker.is_empty()))?;
    if key_marker.is_none() && version_marker.is_some() {
        return Err(Failure::invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    let query = VersionsQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter_of(input.delimiter.as_ref()),
        after: key_marker.map(|key| (key, version_marker)),
        limit,
    };
    let page = api.objects.list_versions(&bucket.name, query).await?;
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for listed in &page.entries {
        match &listed.entry {
            VersionEntry::Version(version) => versions.push(object_version(listed, version, encoding, &bucket)),
            VersionEntry::Marker { id, modified_at, .. } => markers.push(DeleteMarkerEntry {
                is_latest: Some(listed.latest),
                key: Some(encoding.write(listed.key.as_str())),
                last_modified: Some(map::timestamp(*modified_at)),
                owner: Some(map::owner(&bucket.account)),
                version_id: Some(id.to_string()),
            }),
        }
    }
    let next = page.next.filter(|_| limit > 0);
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        key_marker: Some(encoding.write(input.key_marker.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.clone().unwrap_or_default()),
        max_keys: Some(max_keys),
        is_truncated: Some(next.is_some()),
        next_key_marker: next.as_ref().map(|(key, _)| encoding.write(key)),
        next_version_id_marker: next.and_then(|(_, id)| id).map(|id| id.to_string()),
        versions: Some(versions),
        delete_markers: Some(markers),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: delimiter_of(input.delimiter.as_ref()).map(|delimiter| encoding.write(&delimiter)),
        encoding_type: encoding.told(),
        request_charged: None,
    }))
}

fn object_version(listed: &ListedVersion, version: &Version, encoding: Encoding, bucket: &Bucket) -> ObjectVersion {
    let checksum = version.attributes.checksum.as_ref();
    ObjectVersion {
        key: Some(encoding.write(listed.key.as_str())),
        version_id: Some(version.id.to_string()),
        is_latest: Some(listed.latest),
        e_tag: Some(map::etag(&version.attributes.etag)),
        last_modified: Some(map::timestamp(version.modified_at)),
        size: Some(map::size(version.size)),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        owner: Some(map::owner(&bucket.account)),
        checksum_algorithm: checksum
            .map(|checksum| vec![ChecksumAlgorithm::from_static(checksum.algorithm().as_str())]),
        checksum_type: map::checksum_kind(checksum),
        restore_status: None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_that_fit_into_any_xml() {
        assert_eq!(super::encoded("foo+1/quux ab\u{1}~ü"), "foo%2B1/quux%20ab%01~%C3%BC");
    }
}
