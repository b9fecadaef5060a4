//! Entity tags.

use std::num::NonZeroU32;

use mainstay_types::{InvalidText, encode_as_text};

/// What tells an object's content from another's for clients of S3: 32 hexadecimal digits, and the number of parts after a
/// hyphen where they are not the MD5 of the content. Its text is without quotes; headers and XML have them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    digest: [u8; 16],
    parts: Option<NonZeroU32>,
}

impl ETag {
    /// Of content put at once: the MD5 of its bytes.
    pub fn md5(digest: [u8; 16]) -> Self {
        Self { digest, parts: None }
    }

    /// Of content put in parts: the MD5 of the parts' MD5 digests one after the other. Also with one part, for a digest
    /// that is no MD5: clients do not take it for one.
    pub fn composite(digest: [u8; 16], parts: NonZeroU32) -> Self {
        Self { digest, parts: Some(parts) }
    }

    /// The 128 bits before the hyphen.
    pub fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// The number after the hyphen.
    pub fn parts(&self) -> Option<NonZeroU32> {
        self.parts
    }

    /// The text between the quotes that HTTP wants (RFC 9110, section 8.8.3).
    pub fn quoted(&self) -> String {
        format!("\"{self}\"")
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        match self.parts {
            Some(parts) => write!(f, "-{parts}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ETag({self})")
    }
}

impl std::str::FromStr for ETag {
    type Err = InvalidText;

    /// Reads what `Display` writes, also between quotes, as clients send it back.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidText::new("ETag", text, "it is 32 hexadecimal digits, and `-` and a number after some");
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let (digits, parts) = match bare.split_once('-') {
            Some((digits, parts)) => (digits, Some(parts.parse().map_err(|_| invalid())?)),
            None => (bare, None),
        };
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let number = u128::from_str_radix(digits, 16).map_err(|_| invalid())?;
        Ok(Self { digest: number.to_be_bytes(), parts })
    }
}

encode_as_text!(ETag);

#[cfg(test)]
mod tests {
    use super::ETag;

    #[test]
    fn texts_of_entity_tags() {
        let plain = "d41d8cd98f00b204e9800998ecf8427e";
        let composite = "d41d8cd98f00b204e9800998ecf8427e-3";
        assert_eq!(plain.parse::<ETag>().unwrap().to_string(), plain);
        assert_eq!(composite.parse::<ETag>().unwrap().to_string(), composite);
        assert_eq!(format!("\"{composite}\"").parse::<ETag>().unwrap().quoted(), format!("\"{composite}\""));
        for bad in ["", "\"\"", "d41d", "d41d8cd98f00b204e9800998ecf8427e-0", "d41d8cd98f00b204e9800998ecf8427e-", "*"]
        {
            assert!(bad.parse::<ETag>().is_err(), "{bad:?} should be refused");
        }
    }
}
