//! Alternative names of other kinds, as Vault writes them: `<oid>;utf8:<value>`.

use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::{Any, Tag};
use x509_cert::ext::pkix::name::{GeneralName, OtherName as EncodedOtherName};

use crate::extension;
use crate::glob;

/// A name of a kind that an object identifier says, with a text for its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherName {
    pub kind: ObjectIdentifier,
    pub value: String,
}

/// Some text is no such name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOtherName {
    #[error("expected a semicolon in other SAN {0:?}")]
    Semicolon(String),
    #[error("expected a colon in other SAN {0:?}")]
    Colon(String),
    #[error("only utf8 other SANs are supported; found non-supported type in other SAN {0:?}")]
    Type(String),
    #[error("expected an object identifier in other SAN {0:?}")]
    Oid(String),
}

impl OtherName {
    pub fn parse(text: &str) -> Result<Self, InvalidOtherName> {
        let (kind, rest) = text.split_once(';').ok_or_else(|| InvalidOtherName::Semicolon(text.to_owned()))?;
        let (encoding, value) = rest.split_once(':').ok_or_else(|| InvalidOtherName::Colon(text.to_owned()))?;
        if !["utf8", "utf-8"].contains(&encoding.to_ascii_lowercase().as_str()) {
            return Err(InvalidOtherName::Type(text.to_owned()));
        }
        let kind = extension::oid(kind).ok_or_else(|| InvalidOtherName::Oid(text.to_owned()))?;
        Ok(Self { kind, value: value.to_owned() })
    }

    /// Reads one from a request for a certificate. None where its value is no UTF-8 text.
    pub fn from_encoded(name: &EncodedOtherName) -> Option<Self> {
        let value = Utf8StringRef::try_from(&name.value).ok()?;
        Some(Self { kind: name.type_id, value: value.as_str().to_owned() })
    }

    pub fn encoded(&self) -> Result<GeneralName, der::Error> {
        let value = Any::new(Tag::Utf8String, self.value.as_bytes())?;
        Ok(GeneralName::OtherName(EncodedOtherName { type_id: self.kind, value }))
    }

    /// Whether a list of allowed ones, with globs for values, has this one.
    pub fn is_allowed(&self, allowed: &[String]) -> bool {
        let same = |text: &String| {
            Self::parse(text)
                .is_ok_and(|allowed| allowed.kind == self.kind && glob::matches(&allowed.value, &self.value))
        };
        allowed == ["*"] || allowed.iter().any(same)
    }
}

#[cfg(test)]
mod tests {
    use super::OtherName;

    #[test]
    fn other_names_are_allowed_by_kind_and_glob() {
        let name = OtherName::parse("1.3.6.1.4.1.311.20.2.3;UTF-8:user@example.com").unwrap();
        assert!(name.is_allowed(&["1.3.6.1.4.1.311.20.2.3;utf8:*@example.com".to_owned()]));
        assert!(!name.is_allowed(&["1.3.6.1.4.1.311.20.2.4;utf8:*".to_owned()]));
        assert!(!name.is_allowed(&[]) && name.is_allowed(&["*".to_owned()]));
        for text in ["1.2.3", "1.2.3;utf8", "1.2.3;ia5:x", "x;utf8:y"] {
            assert!(OtherName::parse(text).is_err(), "{text}");
        }
    }
}
