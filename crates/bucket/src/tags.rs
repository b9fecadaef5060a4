//! Tags of objects and buckets.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

/// Tags: distinct keys of 1 to 128 characters, values of at most 256, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Tags(#[n(0)] BTreeMap<String, String>);

/// Why tags were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    #[error("there are {given} tags: {limit} are allowed at most")]
    TooMany { given: usize, limit: usize },
    #[error("the tag {0:?} is given twice")]
    Twice(String),
    #[error("the tag key {0:?} has none, or more than 128, characters")]
    KeyLength(String),
    #[error("the value of the tag {0:?} has more than 256 characters")]
    ValueLength(String),
    #[error("the tag {0:?} has a character that tags may not have: use letters, digits, spaces and `+-=._:/@`")]
    Character(String),
    #[error("the tag key {0:?} begins with `aws:`, which is reserved")]
    Reserved(String),
    #[error("the tags are not written as `key=value&key=value`, percent-encoded")]
    Form,
}

impl Tags {
    /// As many as an object may have.
    pub const OBJECT_LIMIT: usize = 10;
    /// As many as a bucket may have.
    pub const BUCKET_LIMIT: usize = 50;
    const KEY_LIMIT: usize = 128;
    const VALUE_LIMIT: usize = 256;

    /// Tags of an object.
    pub fn of_object(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, TagsError> {
        Self::checked(pairs, Self::OBJECT_LIMIT)
    }

    /// Tags of a bucket.
    pub fn of_bucket(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, TagsError> {
        Self::checked(pairs, Self::BUCKET_LIMIT)
    }

    /// Tags of an object as the header `x-amz-tagging` has them: `key=value&key=value`, percent-encoded.
    pub fn from_header(text: &str) -> Result<Self, TagsError> {
        let pairs = form_urlencoded::parse(text.as_bytes());
        let decoded: Vec<_> = pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        // What is no UTF-8 comes out as this character, and would be other text than was meant.
        let garbled = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
        if decoded.iter().any(|(key, value)| garbled(key) || garbled(value)) {
            return Err(TagsError::Form);
        }
        Self::of_object(decoded)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn checked(pairs: impl IntoIterator<Item = (String, String)>, limit: usize) -> Result<Self, TagsError> {
        let mut tags = BTreeMap::new();
        let mut given = 0;
        for (key, value) in pairs {
            given += 1;
            check_tag(&key, &value)?;
            if tags.insert(key.clone(), value).is_some() {
                return Err(TagsError::Twice(key));
            }
        }
        if given > limit { Err(TagsError::TooMany { given, limit }) } else { Ok(Self(tags)) }
    }
}

fn check_tag(key: &str, value: &str) -> Result<(), TagsError> {
    let named = || key.chars().take(Tags::KEY_LIMIT).collect();
    let allowed = |character: char| character.is_alphanumeric() || " +-=._:/@".contains(character);
    if !(1..=Tags::KEY_LIMIT).contains(&key.chars().count()) {
        Err(TagsError::KeyLength(named()))
    } else if value.chars().count() > Tags::VALUE_LIMIT {
        Err(TagsError::ValueLength(named()))
    } else if !key.chars().all(allowed) || !value.chars().all(allowed) {
        Err(TagsError::Character(named()))
    } else if key.starts_with("aws:") {
        Err(TagsError::Reserved(named()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Tags, TagsError};

    fn tags(count: usize) -> Vec<(String, String)> {
        (0..count).map(|number| (number.to_string(), number.to_string())).collect()
    }

    #[test]
    fn limits() {
        let one = |key: &str, value: &str| Tags::of_object([(key.to_owned(), value.to_owned())]).map(|_| ());
        assert_eq!(Tags::of_object(tags(10)).unwrap().len(), 10);
        assert_eq!(Tags::of_object(tags(11)), Err(TagsError::TooMany { given: 11, limit: 10 }));
        assert!(Tags::of_bucket(tags(50)).is_ok() && Tags::of_bucket(tags(51)).is_err());
        assert_eq!(one(&"k".repeat(128), &"v".repeat(256)), Ok(()));
        assert!(matches!(one(&"k".repeat(129), ""), Err(TagsError::KeyLength(_))));
        assert!(matches!(one("k", &"v".repeat(257)), Err(TagsError::ValueLength(_))));
        assert!(matches!(one("", "v"), Err(TagsError::KeyLength(_))));
        assert!(matches!(one("aws:cost", "v"), Err(TagsError::Reserved(_))));
        assert!(matches!(one("k", "<v>"), Err(TagsError::Character(_))));
        assert_eq!(one("größe", "a b+c-d=e._:/@"), Ok(()));
        let twice = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert_eq!(Tags::of_object(twice), Err(TagsError::Twice("a".to_owned())));
    }

    #[test]
    fn headers() {
        let pairs = |text: &str| {
            let tags = Tags::from_header(text)?;
            Ok::<_, TagsError>(tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        };
        assert_eq!(pairs("foo=bar&bar").unwrap(), ["bar=", "foo=bar"]);
        assert_eq!(pairs("a%20b=c%2Bd").unwrap(), ["a b=c+d"]);
        assert_eq!(pairs("").unwrap(), Vec::<String>::new());
        assert_eq!(pairs("a=%FF"), Err(TagsError::Form));
        assert!(pairs("a=1&a=2").is_err());
    }
}
