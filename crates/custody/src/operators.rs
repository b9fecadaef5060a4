//! What operators who hold shares do: initialise, unseal, rekey, and prove that they hold enough of them.
//!
//! Only one attempt of each kind runs at a time. The lock on them is never held while the store is asked.

use crate::custody::Custody;
use crate::inner::UnsealError;
use crate::keyring::KeyringError;
use crate::seal::{Attempt, AttemptStatus, Collected, InvalidShare, SealKind, ShamirKey, Share, Split};

/// Attempts that are under way.
#[derive(Default)]
pub(crate) struct Operators {
    unseal: Option<Attempt>,
    rekey: Option<Rekey>,
    proof: Option<Attempt>,
}

struct Rekey {
    split: Split,
    attempt: Attempt,
}

/// What anybody may know of a store's seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// None where the store is not initialised.
    pub seal: Option<SealKind>,
    pub sealed: bool,
    /// Of an unsealing that is under way.
    pub attempt: AttemptStatus,
}

/// A rekeying that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RekeyStatus {
    /// What the key will be split into.
    pub split: Split,
    /// How many of the present shares were brought.
    pub attempt: AttemptStatus,
}

/// What a share came to.
#[derive(Debug)]
pub enum Rekeyed {
    More(RekeyStatus),
    /// The new shares, which nobody can be given again; the old ones open nothing any more.
    Done(Vec<Share>),
}

/// What a share came to.
#[derive(Debug)]
pub enum Proof {
    More(AttemptStatus),
    /// Whoever brought the shares holds enough of them.
    Proven(Proven),
}

/// Says that operators have just brought enough shares to unseal. Made here only; it holds no key.
#[derive(Debug)]
pub struct Proven(());

/// Why operators' shares did not do what they were brought for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("the store is not sealed with key shares, so that none can be brought")]
    NoShares,
    #[error("{what} is under way; finish or cancel it first")]
    UnderWay { what: &'static str },
    #[error("no {what} is under way; begin one first")]
    NoneUnderWay { what: &'static str },
    #[error("the nonce is not the one of the {what} that is under way; read its status and bring the share again")]
    WrongNonce { what: &'static str },
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

const REKEY: &str = "rekey";
const PROOF: &str = "proof";

impl Custody {
    /// Initialises an empty store with a key that is split into shares, which nobody can be given again. The store is left
    /// unsealed, so that what belongs into a new one can be written; whoever wants Vault's way calls [`Custody::seal`] then.
    pub async fn initialize(&self, split: Split) -> Result<Vec<Share>, UnsealError> {
        let (key, shares) = ShamirKey::draw(split).map_err(UnsealError::Random)?;
        self.inner().initialize(&key).await?;
        Ok(shares)
    }

    /// What anybody may know of the seal.
    pub async fn seal_status(&self) -> Result<SealStatus, UnsealError> {
        let seal = self.inner().stored_seal().await?.map(|stored| stored.kind);
        let idle = AttemptStatus { nonce: None, progress: 0, required: threshold(seal) };
        let attempt = self.operators().unseal.as_ref().map_or(idle, Attempt::status);
        Ok(SealStatus { seal, sealed: self.inner().is_sealed(), attempt })
    }

    /// Brings a share. With the last one that is needed the store is unsealed, or the shares are found wrong, and it begins
    /// anew. Where the store is unsealed already, nothing is done.
    pub async fn unseal(&self, share: Share) -> Result<SealStatus, UnsealError> {
        let stored = self.inner().stored_seal().await?.ok_or(UnsealError::NotInitialized)?;
        let split = match stored.kind {
            SealKind::Shamir(split) => split,
            stored @ SealKind::KeyFile => return Err(UnsealError::OtherSeal { stored, given: "key shares" }),
        };
        if !self.inner().is_sealed() {
            return self.seal_status().await;
        }
        check_length(split, &share)?;
        let collected = {
            let mut operators = self.operators();
            let attempt = match &mut operators.unseal {
                Some(attempt) => attempt,
                none => none.insert(Attempt::begin(split.threshold()).map_err(UnsealError::Random)?),
            };
            let collected = attempt.collect(share);
            if let Collected::Enough(_) = collected {
                operators.unseal = None;
            }
            collected
        };
        if let Collected::Enough(shares) = collected {
            let key = ShamirKey::combine(split, &shares).ok_or(UnsealError::WrongShares)?;
            self.inner().unseal(&key).await?;
        }
        self.seal_status().await
    }

    /// Forgets the shares that were brought to unseal.
    pub fn reset_unseal(&self) {
        self.operators().unseal = None;
    }

    /// Begins to put new shares in the place of the present ones.
    pub async fn begin_rekey(&self, split: Split) -> Result<RekeyStatus, OperatorError> {
        let present = self.unsealed_split().await?;
        let attempt = Attempt::begin(present.threshold()).map_err(UnsealError::Random)?;
        let mut operators = self.operators();
        if operators.rekey.is_some() {
            return Err(OperatorError::UnderWay { what: REKEY });
        }
        Ok(operators.rekey.insert(Rekey { split, attempt }).status())
    }

    /// The rekeying that is under way.
    pub fn rekey_status(&self) -> Option<RekeyStatus> {
        self.operators().rekey.as_ref().map(Rekey::status)
    }

    /// Brings one of the present shares to a rekeying. With the last one that is needed the store has a new key, or the
    /// shares are found wrong and the rekeying is over.
    pub async fn rekey(&self, nonce: &str, share: Share) -> Result<Rekeyed, OperatorError> {
        let present = self.unsealed_split().await?;
        check_length(present, &share).map_err(UnsealError::from)?;
        let (split, shares) = {
            let mut operators = self.operators();
            let rekey = operators.rekey.as_mut().ok_or(OperatorError::NoneUnderWay { what: REKEY })?;
            check_nonce(&rekey.attempt, nonce, REKEY)?;
            match rekey.attempt.collect(share) {
                Collected::More => return Ok(Rekeyed::More(rekey.status())),
                Collected::Enough(shares) => {
                    let split = rekey.split;
                    operators.rekey = None;
                    (split, shares)
                }
            }
        };
        self.check_shares(present, &shares).await?;
        let (key, shares) = ShamirKey::draw(split).map_err(UnsealError::Random)?;
        self.inner().rewrap(&key).await?;
        Ok(Rekeyed::Done(shares))
    }

    /// Ends a rekeying without effect. That there is none is no error.
    pub fn cancel_rekey(&self) {
        self.operators().rekey = None;
    }

    /// Begins to collect shares as a proof that somebody holds enough of them, for example to be given a new root token.
    pub async fn begin_proof(&self) -> Result<AttemptStatus, OperatorError> {
        let present = self.unsealed_split().await?;
        let attempt = Attempt::begin(present.threshold()).map_err(UnsealError::Random)?;
        let mut operators = self.operators();
        if operators.proof.is_some() {
            return Err(OperatorError::UnderWay { what: PROOF });
        }
        Ok(operators.proof.insert(attempt).status())
    }

    /// The proof that is under way.
    pub fn proof_status(&self) -> Option<AttemptStatus> {
        self.operators().proof.as_ref().map(Attempt::status)
    }

    /// Brings a share to a proof. With the last one that is needed it is proven, or the shares are found wrong and the
    /// attempt is over. No key comes of it.
    pub async fn prove(&self, nonce: &str, share: Share) -> Result<Proof, OperatorError> {
        let present = self.unsealed_split().await?;
        check_length(present, &share).map_err(UnsealError::from)?;
        let shares = {
            let mut operators = self.operators();
            let attempt = operators.proof.as_mut().ok_or(OperatorError::NoneUnderWay { what: PROOF })?;
            check_nonce(attempt, nonce, PROOF)?;
            match attempt.collect(share) {
                Collected::More => return Ok(Proof::More(attempt.status())),
                Collected::Enough(shares) => {
                    operators.proof = None;
                    shares
                }
            }
        };
        self.check_shares(present, &shares).await?;
        Ok(Proof::Proven(Proven(())))
    }

    /// Ends a proof. That there is none is no error.
    pub fn cancel_proof(&self) {
        self.operators().proof = None;
    }

    /// The present seal of an unsealed store, whose key is split.
    async fn unsealed_split(&self) -> Result<Split, OperatorError> {
        if self.inner().is_sealed() {
            return Err(OperatorError::Keyring(KeyringError::Sealed));
        }
        let stored = self.inner().stored_seal().await?.ok_or(UnsealError::NotInitialized)?;
        match stored.kind {
            SealKind::Shamir(split) => Ok(split),
            SealKind::KeyFile => Err(OperatorError::NoShares),
        }
    }

    /// Whether shares make the present key: whether it unwraps the root key, that is.
    async fn check_shares(&self, split: Split, shares: &[Share]) -> Result<(), UnsealError> {
        let key = ShamirKey::combine(split, shares).ok_or(UnsealError::WrongShares)?;
        self.inner().unwrap_root(&key).await.map(drop)
    }
}

// === impl Operators ===

impl Operators {
    /// Shares that were brought before the store was sealed are not kept in its memory.
    pub fn forget_attempts(&mut self) {
        *self = Self::default();
    }
}

impl Rekey {
    fn status(&self) -> RekeyStatus {
        RekeyStatus { split: self.split, attempt: self.attempt.status() }
    }
}

fn threshold(seal: Option<SealKind>) -> u8 {
    match seal {
        Some(SealKind::Shamir(split)) => split.threshold(),
        Some(SealKind::KeyFile) | None => 0,
    }
}

/// A nonce is no secret: it tells attempts apart.
fn check_nonce(attempt: &Attempt, nonce: &str, what: &'static str) -> Result<(), OperatorError> {
    if attempt.nonce().as_str() == nonce { Ok(()) } else { Err(OperatorError::WrongNonce { what }) }
}

/// Shares of a split key have one more byte than the key that stands alone.
fn check_length(split: Split, share: &Share) -> Result<(), InvalidShare> {
    let length = share.as_bytes().len();
    if length == Share::length(split) { Ok(()) } else { Err(InvalidShare::Length { length }) }
}
