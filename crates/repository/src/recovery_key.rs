//! The key that restores: 256 random bits, printed, split into shares, derived from.

use zeroize::Zeroizing;

/// All that is needed to read a repository, beside its files.
pub struct RecoveryKey(Box<Zeroizing<[u8; 32]>>);

/// A share of a recovery key (Shamir 1979): `threshold` of them make it again, fewer tell nothing of it.
pub struct KeyShare {
    number: u8,
    threshold: u8,
    fingerprint: [u8; 4],
    value: Zeroizing<Vec<u8>>,
}

/// Text that is no recovery key or share. It is not repeated: it may be one with a slip of the pen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyText {
    #[error("it does not begin with {expected}; give it whole, as it was printed")]
    Prefix { expected: &'static str },
    #[error("it has {found} groups of characters instead of {expected}; give it whole, as it was printed")]
    Length { expected: usize, found: usize },
    #[error("group {group} of {groups} has a typing error; compare it with the print")]
    Group { group: usize, groups: usize },
    #[error(
        "its checksum does not fit, though each group does: groups stand in each other's place, or one is from another print"
    )]
    Checksum,
}

/// Why shares make no key, or a key no shares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error(
        "a key cannot be split into {shares} shares of which {threshold} make it again; use 2 to 255 shares, and a threshold from 2 to their number"
    )]
    Numbers { shares: u8, threshold: u8 },
    #[error("{given} shares were given, and {threshold} are needed")]
    TooFew { given: usize, threshold: u8 },
    #[error("share {number} was given twice")]
    Twice { number: u8 },
    #[error("share {number} is of another key or another split")]
    Foreign { number: u8 },
    #[error("the shares make another key than the one that was split: one of them is wrong")]
    Wrong,
}

impl RecoveryKey {
    /// Draws a new key.
    pub fn draw() -> Result<Self, getrandom::Error> {
        todo!()
    }

    /// Its bytes, as they were kept somewhere safe.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(*bytes)))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`to_text`](Self::to_text) wrote; case and spaces do not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyText> {
        todo!()
    }

    /// For printing.
    pub fn to_text(&self) -> Zeroizing<String> {
        todo!()
    }

    /// Tells it from other keys, and nothing of it.
    pub fn fingerprint(&self) -> String {
        todo!()
    }

    pub fn split(&self, shares: u8, threshold: u8) -> Result<Vec<KeyShare>, SplitError> {
        todo!()
    }

    pub fn combine(shares: &[KeyShare]) -> Result<Self, SplitError> {
        todo!()
    }
}

impl KeyShare {
    /// Counts from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    pub fn parse(text: &str) -> Result<Self, InvalidKeyText> {
        todo!()
    }

    pub fn to_text(&self) -> Zeroizing<String> {
        todo!()
    }
}
