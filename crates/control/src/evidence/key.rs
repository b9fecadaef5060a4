//! The keys that evidence is signed with: the private halves are derived from secrets in custody, the public ones are in the journal.

use mainstay_custody::SecretPath;
use mainstay_domain::command::IntroduceEvidenceKey;
use mainstay_domain::event::Actor;
use mainstay_domain::view::EvidenceKey;
use mainstay_evidence::SigningKey;
use mainstay_types::Digest;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::EvidenceError;
use crate::control::Control;

/// Tells the key from whatever else may be derived from the same secret one day.
const CONTEXT: &str = "mainstay 2026-11 evidence key";

impl Control {
    /// The keys that evidence is signed with, the first of which is made where there is none.
    pub async fn evidence_keys(&self) -> Result<Vec<EvidenceKey>, EvidenceError> {
        self.ensure_evidence_key().await?;
        Ok(self.view().evidence_keys().cloned().collect())
    }

    /// Signs evidence of what happens from now on with a new key. What was signed before stays as it is.
    pub async fn rotate_evidence_key(&self, actor: Actor) -> Result<(), EvidenceError> {
        self.introduce_evidence_key(self.view().next_evidence_key(), actor).await
    }

    pub(super) async fn ensure_evidence_key(&self) -> Result<(), EvidenceError> {
        match self.view().evidence_keys().next() {
            Some(_) => Ok(()),
            None => self.introduce_evidence_key(1, Actor::System).await,
        }
    }

    async fn introduce_evidence_key(&self, number: u32, actor: Actor) -> Result<(), EvidenceError> {
        let secret = self.custody().generate(&path(number)).await.map_err(EvidenceError::Custody)?;
        let public_key = *derive(&secret).public().as_bytes();
        self.submit(actor, IntroduceEvidenceKey { number, public_key }).await?;
        Ok(())
    }

    /// The private half of a key. One that the journal knows is never made anew: it would be another.
    pub(super) async fn signing_key(&self, key: &EvidenceKey) -> Result<SigningKey, EvidenceError> {
        let secret = self.custody().get(&path(key.number)).await.map_err(EvidenceError::Custody)?;
        let signing = secret.map(|secret| derive(&secret));
        let same = signing.filter(|signing| *signing.public().as_bytes() == key.public_key);
        same.ok_or(EvidenceError::KeyGone { number: key.number })
    }

    /// What a layer is known by: the digest of its journal's first event.
    pub(super) async fn layer(&self) -> Result<Digest, EvidenceError> {
        let first = self.journal().read(0, 1).await?;
        Ok(first.first().map_or(Digest::ZERO, |event| event.digest()))
    }
}

fn derive(secret: &SecretString) -> SigningKey {
    let seed = Zeroizing::new(blake3::derive_key(CONTEXT, secret.expose_secret().as_bytes()));
    SigningKey::from_seed(&seed)
}

fn path(number: u32) -> SecretPath {
    format!("evidence-key/{number}").parse().expect("the path is valid")
}
