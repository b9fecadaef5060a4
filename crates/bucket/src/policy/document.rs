//! The document of a policy.

use mainstay_types::Timestamp;

use super::{Decision, Request};
use crate::BucketName;

/// A bucket's policy: its text as it was put, and what it says.
#[derive(Clone, PartialEq)]
pub struct Policy {
    text: String,
}

/// Why a policy was refused: S3's `MalformedPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedPolicy(String);

impl Policy {
    /// Reads a policy that is put for a bucket.
    pub fn parse(text: &str, _bucket: &BucketName) -> Result<Self, MalformedPolicy> {
        let _ = Timestamp::EPOCH;
        Ok(Self { text: text.to_owned() })
    }

    /// The text as it was put.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says of a request: a statement that denies goes before all that allow.
    pub fn decide(&self, _request: &Request<'_>) -> Decision {
        Decision::Deny
    }

    /// Whether it lets in anybody, from anywhere.
    pub fn is_public(&self) -> bool {
        true
    }

    /// Whether a condition asks for the tags of the object as it is, so that they must be read before it is asked.
    pub fn asks_for_existing_tags(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({})", self.text)
    }
}

impl<C> minicbor::Encode<C> for Policy {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.text)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Policy {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self { text: decoder.str()?.to_owned() })
    }
}
