//! The layer's certificate authority, kept in secret custody.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use mainstay_authority::Authority;
use mainstay_custody::{Custody, SecretPath};
use mainstay_engine::{CertificateAuthority, EngineError, IssuedCertificate};
use mainstay_types::ClusterName;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

/// Where it is in custody: its certificate and its key in PEM, one after the other. The number goes up when an authority
/// follows another, or when more is kept of one.
const PATH: &str = "certificate-authority/1";
/// Where the key begins.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// Made with the first certificate that is asked of it, and read once in the life of a process.
pub(super) struct LayerAuthority {
    custody: Custody,
    authority: OnceCell<Arc<Authority>>,
}

impl LayerAuthority {
    pub(super) fn new(custody: Custody) -> Self {
        Self { custody, authority: OnceCell::new() }
    }

    /// Reads it where there is one, so that clients can be told of it. Custody may be sealed now, and not when it is needed.
    pub(super) async fn look(&self) {
        if let Ok(Some(authority)) = self.read().await {
            let _ = self.authority.set(authority);
        }
    }

    async fn authority(&self) -> Result<&Arc<Authority>, EngineError> {
        let read_or_make = || async {
            match self.read().await? {
                Some(authority) => Ok(authority),
                None => self.make().await,
            }
        };
        self.authority.get_or_try_init(read_or_make).await
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
        self.authority.get().map(|authority| authority.certificate().to_owned())
    }

    async fn issue(&self, cluster: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError> {
        CertificateAuthority::issue(&**self.authority().await?, cluster, host).await
    }
}

fn path() -> SecretPath {
    PATH.parse().expect("the path is valid")
}
