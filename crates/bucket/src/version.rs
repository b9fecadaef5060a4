//! Names of versions.

use mainstay_types::{InvalidText, Timestamp, encode_as_text};

/// A version of an object as clients name it: `null`, or 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionId {
    /// The one version of a key that was put while versioning was not enabled.
    Null,
    Numbered(VersionNumber),
}

/// Tells a version from all others, and which of two is newer: its text, and its bytes, sort the **newest first**, the
/// order that S3 lists versions in. The null version has a number too, which its id does not tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber(u128);

impl VersionNumber {
    /// The number of a version that was put at some moment; of two at the same microsecond the one with the higher
    /// `tie` is newer.
    pub fn new(put_at: Timestamp, tie: u64) -> Self {
        let micros = u64::try_from(put_at.as_micros()).unwrap_or(0);
        Self(!(u128::from(micros) << 64 | u128::from(tie)))
    }

    /// Sorts the newest first, as the number does.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The number that some bytes are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl std::fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for VersionNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VersionNumber({self})")
    }
}

impl std::fmt::Display for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Numbered(number) => number.fmt(f),
        }
    }
}

impl std::fmt::Debug for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VersionId({self})")
    }
}

impl std::str::FromStr for VersionId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text {
            "null" => Ok(Self::Null),
            _ if text.len() == 32 && text.bytes().all(lower) => u128::from_str_radix(text, 16)
                .map(|number| Self::Numbered(VersionNumber(number)))
                .map_err(|_| InvalidText::new("version id", text, RULE)),
            _ => Err(InvalidText::new("version id", text, RULE)),
        }
    }
}

const RULE: &str = "it is `null` or the 32 hexadecimal digits that a listing of versions tells";

encode_as_text!(VersionId);

impl<C> minicbor::Encode<C> for VersionNumber {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for VersionNumber {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = decoder.position();
        let bytes = decoder.bytes()?.try_into();
        bytes
            .map(Self::from_bytes)
            .map_err(|_| minicbor::decode::Error::message("a version's number has 16 bytes").at(position))
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{VersionId, VersionNumber};

    #[test]
    fn the_newest_sorts_first() {
        let older = VersionNumber::new(Timestamp::from_micros(1), 9);
        let newer = VersionNumber::new(Timestamp::from_micros(2), 0);
        let newest = VersionNumber::new(Timestamp::from_micros(2), 1);
        assert!(newest < newer && newer < older);
        assert!(newest.to_string() < newer.to_string() && newer.to_bytes() < older.to_bytes());
    }

    #[test]
    fn an_id_has_one_text() {
        let id = VersionId::Numbered(VersionNumber::new(Timestamp::from_micros(77), 3));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("null".parse(), Ok(VersionId::Null));
        for bad in
            ["", "NULL", "0", &id.to_string().to_uppercase(), &format!("{id}0"), "+0000000000000000000000000000000"]
        {
            assert!(bad.parse::<VersionId>().is_err(), "{bad:?} should be refused");
        }
    }
}
