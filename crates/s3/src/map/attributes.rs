//! What objects carry beside their bytes.

use mainstay_bucket::{HeaderText, Metadata, UserMetadata};
use s3s::dto::{CopyObjectInput, CreateMultipartUploadInput, PostObjectInput, PutObjectInput, Timestamp};

use super::time::http_date;
use crate::error::{Failure, Result};

/// The headers of a request that makes an object.
pub struct Headers<'a> {
    pub content_type: Option<&'a String>,
    pub cache_control: Option<&'a String>,
    pub content_disposition: Option<&'a String>,
    pub content_encoding: Option<&'a String>,
    pub content_language: Option<&'a String>,
    pub expires: Option<&'a Timestamp>,
    pub website_redirect_location: Option<&'a String>,
    pub user: Option<&'a s3s::dto::Metadata>,
}

/// Requests that make objects.
pub trait Described {
    fn headers(&self) -> Headers<'_>;
}

macro_rules! described {
    ($($input:ty),*) => {
        $(impl Described for $input {
            fn headers(&self) -> Headers<'_> {
                Headers {
                    content_type: self.content_type.as_ref(),
                    cache_control: self.cache_control.as_ref(),
                    content_disposition: self.content_disposition.as_ref(),
                    content_encoding: self.content_encoding.as_ref(),
                    content_language: self.content_language.as_ref(),
                    expires: self.expires.as_ref(),
                    website_redirect_location: self.website_redirect_location.as_ref(),
                    user: self.metadata.as_ref(),
                }
            }
        })*
    };
}

described!(PutObjectInput, PostObjectInput, CopyObjectInput, CreateMultipartUploadInput);

/// How this request's object is to be kept.
pub fn metadata(input: &impl Described) -> Result<Metadata> {
    let headers = input.headers();
    let text = |text: Option<&String>| text.map(|text| text.parse::<HeaderText>()).transpose();
    let encoding = headers.content_encoding.map(|encoding| without_framing(encoding));
    let expires = headers.expires.map(http_date).transpose()?;
    if let Some(to) = headers.website_redirect_location
        && !(to.starts_with('/') || to.starts_with("http://") || to.starts_with("https://"))
    {
        let message = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
        return Err(Failure::new(s3s::S3ErrorCode::Custom("InvalidRedirectLocation".into()), message)
            .with_status(hyper::StatusCode::BAD_REQUEST));
    }
    let user = headers.user.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    Ok(Metadata {
        content_type: text(headers.content_type.filter(|text| !text.is_empty()))?,
        cache_control: text(headers.cache_control)?,
        content_disposition: text(headers.content_disposition)?,
        content_encoding: text(encoding.as_ref().filter(|text| !text.is_empty()))?,
        content_language: text(headers.content_language)?,
        expires: text(expires.as_ref())?,
        website_redirect_location: text(headers.website_redirect_location)?,
        user: UserMetadata::new(user)?,
    })
}

/// The encodings of an object, without that of its way here.
fn without_framing(encoding: &str) -> String {
    let kept = |name: &&str| !name.is_empty() && !name.eq_ignore_ascii_case("aws-chunked");
    encoding.split(',').map(str::trim).filter(kept).collect::<Vec<_>>().join(",")
}

/// What an object without a type is, as Amazon S3 says it.
const UNKNOWN_TYPE: &str = "binary/octet-stream";

/// Fills in the headers of an answer that serves an object.
macro_rules! tell_metadata {
    ($output:expr, $metadata:expr) => {
        let metadata: &mainstay_bucket::Metadata = $metadata;
        let text = |text: &Option<mainstay_bucket::HeaderText>| text.as_ref().map(ToString::to_string);
        $output.content_type = Some($crate::map::content_type(metadata));
        $output.cache_control = text(&metadata.cache_control);
        $output.content_disposition = text(&metadata.content_disposition);
        $output.content_encoding = text(&metadata.content_encoding);
        $output.content_language = text(&metadata.content_language);
        $output.expires = $crate::map::expires(metadata);
        $output.website_redirect_location = text(&metadata.website_redirect_location);
        $output.metadata = $crate::map::user_metadata(metadata);
    };
}

pub(crate) use tell_metadata;

pub fn content_type(metadata: &Metadata) -> String {
    metadata.content_type.as_ref().map_or(UNKNOWN_TYPE, |text| text.as_str()).to_owned()
}

pub fn expires(metadata: &Metadata) -> Option<Timestamp> {
    let text = metadata.expires.as_ref()?;
    Timestamp::parse(s3s::dto::TimestampFormat::HttpDate, text.as_str()).ok()
}

pub fn user_metadata(metadata: &Metadata) -> Option<s3s::dto::Metadata> {
    let pairs = || metadata.user.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (!metadata.user.is_empty()).then(|| pairs().collect())
}

#[cfg(test)]
mod tests {
    use super::without_framing;

    #[test]
    fn the_framing_of_a_body_is_no_encoding_of_its_object() {
        for (header, kept) in
            [("aws-chunked", ""), ("gzip", "gzip"), ("aws-chunked,gzip", "gzip"), ("gzip, AWS-chunked , br", "gzip,br")]
        {
            assert_eq!(without_framing(header), kept);
        }
    }
}
