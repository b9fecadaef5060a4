//! The layer's certificate authority, kept in secret custody.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_authority::Authority;
use mainstay_custody::{Custody, SecretPath};
use mainstay_engine::{CertificateAuthority, EngineError, IssuedCertificate};
use mainstay_types::{ClusterName, chain};
use secrecy::{ExposeSecret, SecretString};

/// Where it is in custody: its certificate and its key in PEM, one after the other. The number goes up when an authority
/// follows another, or when more is kept of one.
const PATH: &str = "certificate-authority/1";
/// Where the key begins.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// How long after it could not be read that is tried again, while custody is unsealed: what is in the way is a store that does not
/// answer, which nobody mends within seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Made with the first certificate that is asked of it. Its key is held for as long as custody is unsealed.
pub(super) struct LayerAuthority {
    custody: Custody,
    held: Mutex<Held>,
    /// Whoever has it reads or makes the authority, so that there are not two.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    /// What clients are told. It is no secret, and custody may be sealed when they are.
    certificate: Option<String>,
    authority: Option<Arc<Authority>>,
}

impl LayerAuthority {
    pub(super) fn new(custody: Custody) -> Self {
        Self { custody, held: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Reads it where there is one and custody is unsealed, so that clients can be told of it.
    pub(super) async fn look(&self) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        if self.custody.is_sealed() {
            return Ok(());
        }
        if let Some(authority) = self.read().await? {
            self.hold(authority);
        }
        Ok(())
    }

    /// Reads it whenever custody is unsealed, and forgets its key whenever custody is sealed; for as long as this is polled.
    pub(super) async fn follow_seal(&self) {
        let mut seal = self.custody.follow_seal();
        let mut told = false;
        loop {
            let looked = match *seal.borrow_and_update() {
                true => {
                    self.forget_key();
                    Ok(())
                }
                false => self.look().await,
            };
            let changed = match looked {
                Ok(()) => {
                    told = false;
                    seal.changed().await
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let reason = chain(&error);
                        tracing::warn!(
                            reason,
                            "bindings lack the certificate of the layer's authority until it is read"
                        );
                    }
                    tokio::time::timeout(LOOK_AGAIN, seal.changed()).await.unwrap_or(Ok(()))
                }
            };
            if changed.is_err() {
                // Custody is gone, and the layer with it.
                return std::future::pending().await;
            }
        }
    }

    async fn authority(&self) -> Result<Arc<Authority>, EngineError> {
        let _turn = self.turn.lock().await;
        if let Some(authority) = self.held().authority.clone() {
            return Ok(authority);
        }
        let authority = match self.read().await? {
            Some(authority) => authority,
            None => self.make().await?,
        };
        self.hold(authority.clone());
        Ok(authority)
    }

    fn hold(&self, authority: Arc<Authority>) {
        let certificate = Some(authority.certificate().to_owned());
        *self.held() = Held { certificate, authority: Some(authority) };
        // It may have been sealed since it was read from.
        if self.custody.is_sealed() {
            self.forget_key();
        }
    }

    fn forget_key(&self) {
        self.held().authority = None;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Every change is a single assignment, which a panic does not leave half-done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<Option<Arc<Authority>>, EngineError> {
        const WHAT: &str = "the layer's certificate authority can not be read from custody";
        let stored = self.custody.get(&path()).await.map_err(|error| EngineError::transient_from(WHAT, error))?;
        let Some(stored) = stored else { return Ok(None) };
        let read = || {
            let (certificate, key) = stored.expose_secret().split_at_checked(stored.expose_secret().find(KEY)?)?;
            Authority::from_pem(certificate, &SecretString::from(key)).ok()
        };
        let remedy = "restore custody from a snapshot that was taken before";
        read().map(|authority| Some(Arc::new(authority))).ok_or_else(|| EngineError::permanent(WHAT, remedy))
    }

    async fn make(&self) -> Result<Arc<Authority>, EngineError> {
        const WHAT: &str = "the layer's certificate authority can not be made";
        let authority = Authority::generate().map_err(|error| EngineError::transient_from(WHAT, error))?;
        let text = [authority.certificate(), authority.key().expose_secret()].concat();
        let kept = self.custody.put(&path(), &SecretString::from(text)).await;
        kept.map_err(|error| EngineError::transient_from(WHAT, error))?;
        tracing::info!("the layer's certificate authority was made");
        Ok(Arc::new(authority))
    }
}

impl std::fmt::Debug for LayerAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerAuthority").finish_non_exhaustive()
    }
}

#[async_trait]
impl CertificateAuthority for LayerAuthority {
    fn certificate(&self) -> Option<String> {
        self.held().certificate.clone()
    }

    async fn issue(&self, cluster: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError> {
        CertificateAuthority::issue(&*self.authority().await?, cluster, host).await
    }
}

fn path() -> SecretPath {
    PATH.parse().expect("the path is valid")
}
