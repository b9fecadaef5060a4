//! What an object carries beside its bytes.

use std::collections::BTreeMap;

use mainstay_types::{InvalidText, encode_as_text};
use minicbor::{Decode, Encode};

/// The headers that an object was put with and is served with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Metadata {
    #[n(0)]
    pub content_type: Option<HeaderText>,
    #[n(1)]
    pub cache_control: Option<HeaderText>,
    #[n(2)]
    pub content_disposition: Option<HeaderText>,
    #[n(3)]
    pub content_encoding: Option<HeaderText>,
    #[n(4)]
    pub content_language: Option<HeaderText>,
    /// As it came: clients put dates here, and text that is none.
    #[n(5)]
    pub expires: Option<HeaderText>,
    #[n(6)]
    pub website_redirect_location: Option<HeaderText>,
    #[n(7)]
    pub user: UserMetadata,
}

/// Text that can be sent as the value of an HTTP header: no control characters, 2 KiB at most.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HeaderText(Box<str>);

/// What follows `x-amz-meta-`, in lowercase, and its values: 2 KiB in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct UserMetadata(#[n(0)] BTreeMap<String, String>);

/// Why metadata was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("the user's metadata has {0} bytes: names and values may have {limit} in all", limit = UserMetadata::LIMIT)]
    TooLarge(usize),
    #[error("the metadata {0:?} has a name or a value that no HTTP header can carry")]
    Unprintable(String),
}

impl UserMetadata {
    /// Bytes of all names and values, as in Amazon S3.
    pub const LIMIT: usize = 2048;

    /// Metadata from names without their `x-amz-meta-`, and values as UTF-8.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, MetadataError> {
        let mut metadata = BTreeMap::new();
        for (name, value) in pairs {
            if !is_token(&name) || value.chars().any(is_unprintable) {
                return Err(MetadataError::Unprintable(name.chars().take(80).collect()));
            }
            metadata.insert(name.to_ascii_lowercase(), value);
        }
        match metadata.iter().map(|(name, value)| name.len() + value.len()).sum() {
            size if size > Self::LIMIT => Err(MetadataError::TooLarge(size)),
            _ => Ok(Self(metadata)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What RFC 9110, section 5.6.2, allows in a header's name.
fn is_token(name: &str) -> bool {
    let punctuation =
        |byte| matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation(byte))
}

/// A value with a line's end would be read as further headers.
fn is_unprintable(character: char) -> bool {
    character.is_control() && character != '\t'
}

impl HeaderText {
    /// Bytes, which bounds what a request's headers put into the index.
    pub const LIMIT: usize = 2048;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for HeaderText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::LIMIT || text.chars().any(is_unprintable) {
            let rule = "use at most 2048 bytes, and no control characters";
            return Err(InvalidText::new("header", text, rule));
        }
        Ok(Self(text.into()))
    }
}

impl std::fmt::Display for HeaderText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

encode_as_text!(HeaderText);

#[cfg(test)]
mod tests {
    use super::{HeaderText, MetadataError, UserMetadata};

    fn user(pairs: &[(&str, &str)]) -> Result<UserMetadata, MetadataError> {
        UserMetadata::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn user_metadata_is_bounded_and_fit_for_headers() {
        assert_eq!(user(&[("Foo", "bär\t1")]).unwrap().get("foo"), Some("bär\t1"));
        assert!(user(&[("a", &"x".repeat(2047))]).is_ok());
        assert_eq!(user(&[("a", &"x".repeat(2048))]), Err(MetadataError::TooLarge(2049)));
        for (name, value) in
            [("", "x"), ("a b", "x"), ("a:", "x"), ("ä", "x"), ("a", "x\r\nset-cookie: y"), ("a", "\0")]
        {
            assert!(matches!(user(&[(name, value)]), Err(MetadataError::Unprintable(_))), "{name:?} {value:?}");
        }
    }

    #[test]
    fn a_header_has_one_line() {
        assert!("text/plain; charset=utf-8".parse::<HeaderText>().is_ok());
        assert!("text/plain\r\nx: y".parse::<HeaderText>().is_err());
        assert!("x".repeat(2049).parse::<HeaderText>().is_err());
    }
}
