//! What content is called, and its other digests.

use mainstay_types::Digest;
use minicbor::{Decode, Encode};

/// The text before the colon of an address.
const ALGORITHM: &str = "blake3";

/// The name of content: the BLAKE3 digest of its bytes. As text `blake3:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Address(#[n(0)] Digest);

/// A SHA-256 digest (FIPS 180-4). As text it is 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Sha256(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

/// An MD5 digest (RFC 1321), which names nothing and protects nothing here: S3's clients compare it. As text it is 32
/// lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Md5(#[cbor(with = "minicbor::bytes")] pub [u8; 16]);

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no content address: it is `blake3:` and 64 lowercase hexadecimal digits")]
pub struct InvalidAddress {
    text: String,
}

impl Address {
    /// The address of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// The address that a digest is.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The BLAKE3 digest that it is.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{ALGORITHM}:{}", self.0)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress { text: text.chars().take(80).collect() };
        let digits = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':')).ok_or_else(invalid)?;
        let bytes = from_hex::<32>(digits).ok_or_else(invalid)?;
        Ok(Self(Digest::from_bytes(bytes)))
    }
}

/// Lowercase hexadecimal digits only, so that an address has one text.
fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

macro_rules! hex_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hex_text!(Sha256);
hex_text!(Md5);

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_has_one_text() {
        let address = Address::of(b"");
        let text = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(address.to_string(), text);
        assert_eq!(text.parse(), Ok(address));
        let upper = text.replace("af1349", "AF1349");
        for bad in ["", "blake3:", "sha256:00", &text[1..], &text[..70], &upper, "blake3:../../etc"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} should be refused");
        }
    }
}
