//! Hashing passwords: slow on purpose, and bounded in what it may take of the machine.

use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use mainstay_secrets_engine::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// How much memory a hash takes, in KiB, and how often it goes over it: what OWASP's password storage cheat sheet
/// asks of Argon2id at least (19 MiB, 2 passes, 1 lane), about 20 ms of a core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many hashes are made at once: 76 MiB at most, and logins never take more than four cores from everybody else.
pub(super) const HASHES_AT_ONCE: usize = 4;

/// How many logins wait for their turn at most, which is some seconds of work. More are told to come back later: whoever
/// floods the server with logins fills neither its memory nor its time.
const WAITING: usize = 256;

/// The longest password, in bytes: longer than any passphrase, and short enough to be held while it waits.
pub(super) const LONGEST_PASSWORD: usize = 4096;

/// The hash of a password that nobody knows, with the same parameters: what a name without a user is checked against.
const NOBODY_S: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdA$fYCD2HNvKfnvOF2q7BtqWS0cdRXt0Mv5ZDOpm9kdG2A";

/// Hashes passwords off the threads that serve requests.
pub(super) struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    #[cfg(test)]
    made: Arc<AtomicUsize>,
}

/// The right to make one hash.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

// === impl Passwords ===

impl Default for Passwords {
    fn default() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            #[cfg(test)]
            made: Arc::default(),
        }
    }
}

impl Passwords {
    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Turn, Refusal> {
        let full = || Refusal::TooMany("too many logins are waiting for their password check; try again".to_owned());
        let _waiting = self.waiting.try_acquire().map_err(|_| full())?;
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        Ok(Turn { _permit: permit.map_err(|_| full())? })
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, Refusal> {
        let turn = self.turn().await?;
        let (hashed, _) = self.off_thread(turn, move |argon2| argon2.hash_password(password.as_bytes())).await?;
        let hashed: PasswordHash = hashed.map_err(|error| Refusal::failed("the password cannot be hashed", error))?;
        Ok(hashed.to_string())
    }

    /// Whether a password is the one that a PHC string was made of. Without a PHC string it is not, after the same work.
    /// Gives the turn back, for whoever has to note the result before the next hash begins.
    pub async fn verify(
        &self,
        turn: Turn,
        password: Zeroizing<String>,
        hash: Option<String>,
    ) -> Result<(bool, Turn), Refusal> {
        let known = hash.is_some();
        let hash = Zeroizing::new(hash.unwrap_or_else(|| NOBODY_S.to_owned()));
        let verified = self.off_thread(turn, move |argon2| {
            argon2.verify_password(password.as_bytes(), &PasswordHash::new(&hash).map_err(|_| Error::EncodingInvalid)?)
        });
        let (verified, turn) = verified.await?;
        match verified {
            Ok(()) => Ok((known, turn)),
            Err(Error::PasswordInvalid) => Ok((false, turn)),
            Err(error) => {
                Err(Refusal::failed("the stored hash of a password is not one; write the password again", error))
            }
        }
    }

    /// How many hashes were made.
    #[cfg(test)]
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// The turn goes along: a hash that nobody waits for any more still takes its memory until it is done.
    async fn off_thread<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(Argon2<'static>) -> T + Send + 'static,
    ) -> Result<(T, Turn), Refusal> {
        #[cfg(test)]
        self.made.fetch_add(1, Ordering::SeqCst);
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within Argon2's bounds");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let done = tokio::task::spawn_blocking(move || (work(argon2), turn));
        done.await.map_err(|error| Refusal::failed("the hashing of a password was interrupted", error))
    }
}

#[cfg(test)]
mod tests {
    use argon2::Params;
    use argon2::password_hash::phc::PasswordHash;
    use mainstay_secrets_engine::Refusal;
    use zeroize::Zeroizing;

    use super::{HASHES_AT_ONCE, LANES, MEMORY_KIB, NOBODY_S, PASSES, Passwords, WAITING};

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[test]
    fn nobody_s_hash_costs_what_a_new_one_costs() {
        let params = Params::try_from(&PasswordHash::new(NOBODY_S).unwrap()).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!(params.output_len(), Some(32));
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash(password("right")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(password("right")).await.unwrap());
        for (given, hash, right) in
            [("right", Some(&hash), true), ("wrong", Some(&hash), false), ("right", None, false)]
        {
            let turn = passwords.turn().await.unwrap();
            assert_eq!(passwords.verify(turn, password(given), hash.cloned()).await.unwrap().0, right);
        }
        let turn = passwords.turn().await.unwrap();
        let broken = passwords.verify(turn, password("x"), Some("not a hash".to_owned())).await;
        assert!(matches!(broken, Err(Refusal::Failed { .. })));
    }

    #[tokio::test]
    async fn those_who_wait_are_bounded() {
        let passwords = Passwords::default();
        let mut turns = Vec::new();
        for _ in 0..HASHES_AT_ONCE {
            turns.push(passwords.turn().await.unwrap());
        }
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(passwords.turn())).collect();
        for wait in &mut waiting {
            assert!(futures::poll!(wait).is_pending());
        }
        assert!(matches!(passwords.turn().await, Err(Refusal::TooMany(_))));
        drop(waiting);
        turns.clear();
        assert!(passwords.turn().await.is_ok());
    }
}
