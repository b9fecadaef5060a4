//! Checksums that clients of S3 send and compare beside the ETag.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};

/// A checksum of an object. Its text is base64, and the number of parts after a hyphen where it is composite.
#[derive(Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Checksum {
    #[n(0)]
    algorithm: ChecksumAlgorithm,
    #[n(1)]
    kind: ChecksumKind,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    value: Vec<u8>,
    #[n(3)]
    parts: Option<NonZeroU32>,
}

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ChecksumAlgorithm {
    #[n(0)]
    Crc32,
    #[n(1)]
    Crc32c,
    #[n(2)]
    Crc64Nvme,
    #[n(3)]
    Sha1,
    #[n(4)]
    Sha256,
}

/// What a checksum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ChecksumKind {
    /// The object's bytes.
    #[n(0)]
    FullObject,
    /// The checksums of its parts, one after the other.
    #[n(1)]
    Composite,
}

/// Text that is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChecksum {
    #[error("a {algorithm} checksum is {expected} bytes in base64")]
    Value { algorithm: ChecksumAlgorithm, expected: usize },
    #[error("there is no checksum algorithm {0:?}: use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256")]
    Algorithm(String),
    #[error("there is no checksum type {0:?}: use COMPOSITE or FULL_OBJECT")]
    Kind(String),
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Bytes of its value.
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Its name in S3's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries its value.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// What the checksum of an object put in parts is of where nobody says it: CRC64NVME knows the whole object only.
    pub fn default_kind(self) -> ChecksumKind {
        match self {
            Self::Crc64Nvme => ChecksumKind::FullObject,
            _ => ChecksumKind::Composite,
        }
    }

    /// Whether an object put in parts can have such a checksum. CRCs of parts can be put together to that of the whole,
    /// other digests cannot; and nobody reads a composite CRC64NVME.
    pub fn supports(self, kind: ChecksumKind) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c => true,
            Self::Crc64Nvme => kind == ChecksumKind::FullObject,
            Self::Sha1 | Self::Sha256 => kind == ChecksumKind::Composite,
        }
    }
}

impl Checksum {
    /// The checksum of an object's, or a part's, bytes; its value must be as long as the algorithm's are.
    pub fn full_object(algorithm: ChecksumAlgorithm, value: &[u8]) -> Result<Self, InvalidChecksum> {
        Self::checked(algorithm, ChecksumKind::FullObject, value, None)
    }

    /// The checksum of the parts' checksums.
    pub fn composite(algorithm: ChecksumAlgorithm, value: &[u8], parts: NonZeroU32) -> Result<Self, InvalidChecksum> {
        Self::checked(algorithm, ChecksumKind::Composite, value, Some(parts))
    }

    /// Reads base64, with `-` and the number of parts after it where it is composite.
    pub fn parse(algorithm: ChecksumAlgorithm, text: &str) -> Result<Self, InvalidChecksum> {
        let invalid = || InvalidChecksum::Value { algorithm, expected: algorithm.length() };
        let (base64, parts) = match text.split_once('-') {
            Some((base64, parts)) => (base64, Some(parts.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let kind = if parts.is_some() { ChecksumKind::Composite } else { ChecksumKind::FullObject };
        Self::checked(algorithm, kind, &STANDARD.decode(base64).map_err(|_| invalid())?, parts)
    }

    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    pub fn kind(&self) -> ChecksumKind {
        self.kind
    }

    /// The bytes before base64.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    fn checked(
        algorithm: ChecksumAlgorithm,
        kind: ChecksumKind,
        value: &[u8],
        parts: Option<NonZeroU32>,
    ) -> Result<Self, InvalidChecksum> {
        if value.len() != algorithm.length() {
            return Err(InvalidChecksum::Value { algorithm, expected: algorithm.length() });
        }
        Ok(Self { algorithm, kind, value: value.to_vec(), parts })
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(&self.value))?;
        match self.parts {
            Some(parts) => write!(f, "-{parts}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({} {self})", self.algorithm)
    }
}

impl std::fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for ChecksumAlgorithm {
    type Err = InvalidChecksum;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |algorithm: &Self| algorithm.as_str().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or_else(|| InvalidChecksum::Algorithm(text.chars().take(40).collect()))
    }
}

impl ChecksumKind {
    /// Its name in S3's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

impl std::str::FromStr for ChecksumKind {
    type Err = InvalidChecksum;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "FULL_OBJECT" => Ok(Self::FullObject),
            "COMPOSITE" => Ok(Self::Composite),
            _ => Err(InvalidChecksum::Kind(text.chars().take(40).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Checksum, ChecksumAlgorithm, ChecksumKind};

    #[test]
    fn texts_of_checksums() {
        let crc = Checksum::parse(ChecksumAlgorithm::Crc32, "AAAAAA==").unwrap();
        assert_eq!((crc.value(), crc.kind()), ([0; 4].as_slice(), ChecksumKind::FullObject));
        let composite = Checksum::parse(ChecksumAlgorithm::Crc32, "AAAAAA==-2").unwrap();
        assert_eq!((composite.to_string().as_str(), composite.kind()), ("AAAAAA==-2", ChecksumKind::Composite));
        for bad in ["", "AAAA", "AAAAAA", "AAAAAA==-0", "AAAAAA==-x", "AAAAAA==-", "????????"] {
            assert!(Checksum::parse(ChecksumAlgorithm::Crc32, bad).is_err(), "{bad:?} should be refused");
        }
        assert_eq!("crc64nvme".parse(), Ok(ChecksumAlgorithm::Crc64Nvme));
        assert!("md5".parse::<ChecksumAlgorithm>().is_err());
    }
}
