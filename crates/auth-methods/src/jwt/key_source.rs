//! The keys of an issuer, kept for a while.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::Header;
use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use tokio::sync::Mutex;

use crate::jwt::issuer::{self, FetchError, Place};
use crate::jwt::keys::{Key, Verdict, verify};

/// Where keys come from.
pub(super) enum KeySource {
    /// From the configuration.
    Given(Vec<Key>),
    /// From an issuer.
    Issuer(Box<Issuer>),
}

/// An issuer and the keys that it had when it was last asked.
pub(super) struct Issuer {
    place: Place,
    known: RwLock<Option<Arc<Fetched>>>,
    /// When it was last asked. Held while it is asked: only one does at a time.
    asked: Mutex<Option<Timestamp>>,
}

struct Fetched {
    keys: Vec<Key>,
    at: Timestamp,
}

/// How long keys are used without asking again, in seconds: a key that its issuer withdrew is not trusted for longer.
const FRESH_SECONDS: f64 = 5.0 * 60.0;

/// How long keys are used while the issuer does not answer, in seconds: nobody is kept out by a bad day of the issuer, and
/// nobody who holds it down keeps a withdrawn key alive for ever.
const USABLE_SECONDS: f64 = 24.0 * 60.0 * 60.0;

/// How long the issuer is not asked again, in seconds: whoever sends tokens with made-up key ids does not make us flood
/// it.
const REST_SECONDS: f64 = 10.0;

/// How old keys are.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// To be asked for again, and used where the issuer does not answer.
    Stale,
    /// Not to be used any more.
    Old,
}

// === impl KeySource ===

impl KeySource {
    pub fn of_issuer(place: Place) -> Self {
        Self::Issuer(Box::new(Issuer { place, known: RwLock::new(None), asked: Mutex::new(None) }))
    }

    /// Refuses a token that none of the keys signed.
    pub async fn verify(&self, token: &str, header: &Header, now: Timestamp) -> Result<(), Refusal> {
        let (verdict, why) = match self {
            Self::Given(keys) => {
                (verify(token, header, keys), "no known key successfully validated the token signature")
            }
            Self::Issuer(issuer) => (issuer.verify(token, header, now).await?, "failed to verify id token signature"),
        };
        match verdict {
            Verdict::Signed => Ok(()),
            Verdict::NoSuchKey | Verdict::Forged => {
                Err(Refusal::Invalid(format!("error validating token: error verifying token signature: {why}")))
            }
        }
    }

    /// Asks the issuer, so that a mistake in the configuration shows when it is written.
    pub async fn check(&self, now: Timestamp) -> Result<(), FetchError> {
        match self {
            Self::Given(_) => Ok(()),
            Self::Issuer(issuer) => issuer.ask(&mut *issuer.asked.lock().await, now).await.map(drop),
        }
    }
}

// === impl Issuer ===

impl Issuer {
    async fn verify(&self, token: &str, header: &Header, now: Timestamp) -> Result<Verdict, Refusal> {
        let known = self.known();
        if let Some(fetched) = known.as_ref().filter(|fetched| fetched.age(now) == Age::Fresh) {
            let verdict = verify(token, header, &fetched.keys);
            if verdict != Verdict::NoSuchKey {
                return Ok(verdict);
            }
        }
        let fetched = self.refreshed(known, now).await?;
        Ok(verify(token, header, &fetched.keys))
    }

    /// Newer keys than those that somebody has seen; the same where there are none to be had now.
    async fn refreshed(&self, seen: Option<Arc<Fetched>>, now: Timestamp) -> Result<Arc<Fetched>, Refusal> {
        let usable = seen.filter(|fetched| fetched.age(now) != Age::Old);
        let stale = usable.as_ref().is_some_and(|fetched| fetched.age(now) == Age::Stale);
        let mut asked = match self.asked.try_lock() {
            Ok(asked) => asked,
            // Somebody is asking already. With keys that still do, nobody waits for it.
            Err(_) if stale => return usable.ok_or_else(|| self.unavailable(None)),
            Err(_) => self.asked.lock().await,
        };
        let newer = self.known().filter(|known| usable.as_ref().is_none_or(|usable| !Arc::ptr_eq(usable, known)));
        if let Some(newer) = newer.filter(|newer| newer.age(now) != Age::Old) {
            return Ok(newer);
        }
        if asked.is_some_and(|asked| apart(asked, now) < REST_SECONDS) {
            return usable.ok_or_else(|| self.unavailable(None));
        }
        match (self.ask(&mut asked, now).await, usable) {
            (Ok(fetched), _) => Ok(fetched),
            (Err(error), Some(usable)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the keys of an issuer cannot be had; those of last time are used"
                );
                Ok(usable)
            }
            (Err(error), None) => Err(self.unavailable(Some(error))),
        }
    }

    async fn ask(&self, asked: &mut Option<Timestamp>, now: Timestamp) -> Result<Arc<Fetched>, FetchError> {
        *asked = Some(now);
        let keys = issuer::fetch(self.place.clone()).await?;
        let fetched = Arc::new(Fetched { keys, at: now });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&fetched));
        Ok(fetched)
    }

    fn known(&self) -> Option<Arc<Fetched>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unavailable(&self, source: Option<FetchError>) -> Refusal {
        let (Place::Jwks { url, .. } | Place::Discovery { issuer: url, .. }) = &self.place;
        let what =
            format!("error validating token: the keys of {url} cannot be had; try again in {REST_SECONDS} seconds");
        Refusal::Unavailable { what, source: source.map(Into::into) }
    }
}

impl Fetched {
    fn age(&self, now: Timestamp) -> Age {
        match apart(self.at, now) {
            seconds if seconds < FRESH_SECONDS => Age::Fresh,
            seconds if seconds < USABLE_SECONDS => Age::Stale,
            _ => Age::Old,
        }
    }
}

/// How far two moments are apart, in seconds, whichever is the earlier: a clock that was put back makes nothing young.
fn apart(one: Timestamp, other: Timestamp) -> f64 {
    one.seconds_since(other).max(other.seconds_since(one))
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{Age, Fetched};

    #[test]
    fn keys_age_in_both_directions() {
        let at = Timestamp::EPOCH.plus_seconds(1_000_000);
        let fetched = Fetched { keys: Vec::new(), at };
        let table = [(0, Age::Fresh), (299, Age::Fresh), (300, Age::Stale), (86_399, Age::Stale), (86_400, Age::Old)];
        for (seconds, age) in table {
            assert_eq!(fetched.age(at.plus_seconds(seconds)), age, "{seconds}");
            let earlier = Timestamp::from_micros(at.as_micros() - seconds as i64 * 1_000_000);
            assert_eq!(fetched.age(earlier), age, "-{seconds}");
        }
    }
}
