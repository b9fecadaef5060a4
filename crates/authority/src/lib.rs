//! The certificate authority of the layer: what clients trust when they reach an engine by TLS.
//!
//! Keys are of NIST P-256 with ECDSA and SHA-256, which every client and every engine takes. An authority is its
//! certificate and its key in PEM; where they are kept is its owner's affair.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::{CertificateAuthority, EngineError, IssuedCertificate};
use mainstay_types::{ClusterName, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use secrecy::{ExposeSecret, SecretString};

/// How long an authority is good: longer than any machine it is made on. Replacing it means giving every client a new
/// certificate to trust.
const AUTHORITY_SECONDS: u64 = 10 * 365 * DAY;
/// How long a cluster's certificate is good. It is renewed by itself long before, so that it can be as short as those of
/// public authorities.
const CERTIFICATE_SECONDS: u64 = 90 * DAY;
/// How long before now a certificate begins to be good, for clients whose clocks are behind.
const BACKDATED_SECONDS: u64 = 3600;
const DAY: u64 = 24 * 3600;

/// An authority that can issue.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Why a certificate, or an authority, could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct AuthorityError {
    what: &'static str,
    #[source]
    source: rcgen::Error,
}

impl Authority {
    /// A new one, good from now on.
    pub fn generate() -> Result<Self, AuthorityError> {
        const WHAT: &str = "a certificate authority could not be made";
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed(WHAT))?;
        let params = authority_params();
        let certificate = params.self_signed(&key).map_err(failed(WHAT))?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// One that was generated before.
    pub fn from_pem(certificate: &str, key: &SecretString) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key.expose_secret())
            .map_err(failed("the key of the certificate authority that was kept can not be read"))?;
        // What it issues says of its authority the name and the key, which are the same for life.
        Ok(Self { certificate: certificate.to_owned(), issuer: Issuer::new(authority_params(), key) })
    }

    /// What clients trust: PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it issues with: PKCS #8, PEM.
    pub fn key(&self) -> SecretString {
        self.issuer.key().serialize_pem().into()
    }

    /// A certificate for a server that is reached at an address, and called by the cluster's name in it.
    pub fn issue(&self, cluster: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, AuthorityError> {
        const WHAT: &str = "a certificate could not be issued";
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed(WHAT))?;
        let now = Timestamp::now();
        let mut params = params(cluster.as_str(), now, CERTIFICATE_SECONDS);
        params.subject_alt_names = vec![SanType::IpAddress(host)];
        if host.is_loopback() {
            let localhost = "localhost".try_into().map_err(failed(WHAT))?;
            params.subject_alt_names.push(SanType::DnsName(localhost));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(WHAT))?;
        Ok(IssuedCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem().into(),
            authority: self.certificate.clone(),
            not_before: now,
            not_after: now.plus_seconds(CERTIFICATE_SECONDS),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

#[async_trait]
impl CertificateAuthority for Authority {
    fn certificate(&self) -> Option<String> {
        Some(self.certificate.clone())
    }

    async fn issue(&self, cluster: &ClusterName, host: IpAddr) -> Result<IssuedCertificate, EngineError> {
        Authority::issue(self, cluster, host)
            .map_err(|error| EngineError::transient_from(format!("cluster {cluster} got no certificate"), error))
    }
}

fn authority_params() -> CertificateParams {
    let mut params = params("Mainstay authority", Timestamp::now(), AUTHORITY_SECONDS);
    // It issues to servers, and makes no other authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(name: &str, now: Timestamp, seconds: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Mainstay");
    params.distinguished_name.push(DnType::CommonName, name);
    let now = Duration::from_secs(now.as_micros().max(0) as u64 / 1_000_000);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(Duration::from_secs(BACKDATED_SECONDS));
    params.not_after = epoch + now + Duration::from_secs(seconds);
    params
}

fn failed(what: &'static str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError { what, source }
}
