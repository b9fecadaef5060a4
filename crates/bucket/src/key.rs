//! Names of objects.

use std::sync::Arc;

/// An object's name within its bucket: 1 to 1024 bytes of UTF-8 without NUL. Keys are ordered by their bytes. `/`, `.`
/// and `..` are text like any other: a key is never a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

/// Why text is no object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("an object's key is empty: give it at least one byte")]
    Empty,
    #[error("an object's key has {0} bytes: it may have {limit} at most", limit = ObjectKey::LIMIT)]
    TooLong(usize),
    /// PostgreSQL keeps no text with a NUL, and what one driver cannot keep none does.
    #[error("an object's key contains a NUL: leave it out")]
    Nul,
}

impl ObjectKey {
    /// Bytes that a key may have, as in Amazon S3.
    pub const LIMIT: usize = 1024;

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            0 => Err(InvalidKey::Empty),
            length if length > Self::LIMIT => Err(InvalidKey::TooLong(length)),
            _ if text.contains('\0') => Err(InvalidKey::Nul),
            _ => Ok(Self(text.into())),
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectKey({:?})", self.0)
    }
}

impl std::borrow::Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<C> minicbor::Encode<C> for ObjectKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ObjectKey {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = decoder.position();
        decoder.str()?.parse().map_err(|error: InvalidKey| minicbor::decode::Error::custom(error).at(position))
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidKey, ObjectKey};

    #[test]
    fn keys_are_text_and_never_paths() {
        for good in ["a", "/", "..", "../../etc/passwd", "a//b", " ", "ключ", "\u{1}", &"x".repeat(1024)] {
            assert_eq!(good.parse::<ObjectKey>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<ObjectKey>(), Err(InvalidKey::Empty));
        assert_eq!("x".repeat(1025).parse::<ObjectKey>(), Err(InvalidKey::TooLong(1025)));
        assert_eq!("ж".repeat(513).parse::<ObjectKey>(), Err(InvalidKey::TooLong(1026)));
        assert_eq!("a\0b".parse::<ObjectKey>(), Err(InvalidKey::Nul));
    }
}
