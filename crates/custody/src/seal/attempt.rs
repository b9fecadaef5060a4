//! Collecting shares until there are enough of them.

use std::fmt;

use subtle::ConstantTimeEq;

use super::Share;

/// Names one attempt, so that shares meant for another are not counted to it: a random UUID, as Vault's.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptStatus {
    /// None before the first share of an unsealing, or where no attempt was begun.
    pub nonce: Option<Nonce>,
    pub progress: u8,
    pub required: u8,
}

/// Shares that were brought so far.
pub(crate) struct Attempt {
    nonce: Nonce,
    required: u8,
    shares: Vec<Share>,
}

/// What a share came to.
pub(crate) enum Collected {
    /// More are needed.
    More,
    /// That was the last one: the attempt is to be forgotten, whatever the shares make.
    Enough(Vec<Share>),
}

// === impl Attempt ===

impl Attempt {
    /// Begins to collect so many shares.
    pub fn begin(required: u8) -> Result<Self, getrandom::Error> {
        Ok(Self { nonce: Nonce::draw()?, required, shares: Vec::with_capacity(required.into()) })
    }

    /// Counts a share, once: the same one again changes nothing.
    pub fn collect(&mut self, share: Share) -> Collected {
        let known = self.shares.iter().any(|known| known.as_bytes().ct_eq(share.as_bytes()).into());
        if !known {
            self.shares.push(share);
        }
        if self.shares.len() < usize::from(self.required) {
            return Collected::More;
        }
        Collected::Enough(std::mem::take(&mut self.shares))
    }

    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    pub fn status(&self) -> AttemptStatus {
        AttemptStatus { nonce: Some(self.nonce.clone()), progress: self.shares.len() as u8, required: self.required }
    }
}

// === impl Nonce ===

impl Nonce {
    fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}
