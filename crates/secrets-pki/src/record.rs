//! What an authority keeps, as it is stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_types::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::extension::Urls;
use crate::validity::Outliving;

/// The version of everything below. A sample of each version is in `tests/it/samples`.
pub const VERSION: u8 = 1;

/// Anything stored, with the version of its form.
#[derive(Serialize, Deserialize)]
pub struct Kept<T> {
    pub version: u8,
    pub data: T,
}

/// An authority's certificate, with a key or without.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuerRecord {
    pub id: String,
    pub name: String,
    /// Empty where the key is not here.
    pub key_id: String,
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    pub usage: Usage,
    pub leaf_not_after_behavior: Outliving,
    /// The ids of the certificates to show as the chain; none where it is to be found.
    pub manual_chain: Vec<String>,
    /// Instead of the mount's.
    pub urls: Option<Urls>,
    pub revoked_at: Option<Timestamp>,
    /// The hash of what it signs about revocation, in bits.
    pub hash_bits: u64,
}

/// What an issuer may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub issuing: bool,
    pub crl_signing: bool,
    pub ocsp_signing: bool,
}

/// A private key. Has no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct KeyRecord {
    pub id: String,
    pub name: String,
    pub kind: String,
    #[serde(with = "base64_secret")]
    pub pkcs8: Zeroizing<Vec<u8>>,
}

/// A certificate that was issued.
#[derive(Serialize, Deserialize)]
pub struct CertificateRecord {
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    /// Said once more outside, so that tidying reads no certificates.
    pub not_after: Timestamp,
}

/// A certificate that was revoked.
#[derive(Clone, Serialize, Deserialize)]
pub struct RevocationRecord {
    pub revoked_at: Timestamp,
    pub not_after: Timestamp,
    pub issuer_id: String,
    /// Whose revocation list it belongs to, see `Certificate::authority`.
    #[serde(with = "base64_bytes")]
    pub authority: Vec<u8>,
}

/// Which issuer is the default one.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct IssuersConfig {
    pub default: String,
    pub default_follows_latest_issuer: bool,
}

/// How revocation is told, with the names that Vault gives the fields.
#[derive(Clone, Serialize, Deserialize)]
pub struct CrlConfig {
    pub expiry: String,
    pub disable: bool,
    pub ocsp_disable: bool,
    pub ocsp_expiry: String,
    pub auto_rebuild: bool,
    pub auto_rebuild_grace_period: String,
    pub enable_delta: bool,
    pub delta_rebuild_interval: String,
}

/// When and how the mount tidies up by itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct TidyConfig {
    pub enabled: bool,
    pub interval_duration: u64,
    pub tidy_cert_store: bool,
    pub tidy_revoked_certs: bool,
    pub safety_buffer: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { issuing: true, crl_signing: true, ocsp_signing: true }
    }
}

impl Usage {
    /// As Vault writes it.
    pub fn names(self) -> String {
        let all = [
            (true, "read-only"),
            (self.issuing, "issuing-certificates"),
            (self.crl_signing, "crl-signing"),
            (self.ocsp_signing, "ocsp-signing"),
        ];
        let names: Vec<&str> = all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
        names.join(",")
    }

    /// Reads names. None where one is unknown.
    pub fn parse(names: &[String]) -> Option<Self> {
        let mut usage = Self { issuing: false, crl_signing: false, ocsp_signing: false };
        for name in names {
            match name.as_str() {
                "read-only" => {}
                "issuing-certificates" => usage.issuing = true,
                "crl-signing" => usage.crl_signing = true,
                "ocsp-signing" => usage.ocsp_signing = true,
                _ => return None,
            }
        }
        Some(usage)
    }
}

/// Vault's defaults.
impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            expiry: "72h".to_owned(),
            disable: false,
            ocsp_disable: false,
            ocsp_expiry: "12h".to_owned(),
            auto_rebuild: false,
            auto_rebuild_grace_period: "12h".to_owned(),
            enable_delta: false,
            delta_rebuild_interval: "15m".to_owned(),
        }
    }
}

/// Vault's defaults.
impl Default for TidyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_duration: 12 * 3600,
            tidy_cert_store: false,
            tidy_revoked_certs: false,
            safety_buffer: 72 * 3600,
        }
    }
}

mod base64_bytes {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer};
    use serde::de::Error as _;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("no base64"))
    }
}

mod base64_secret {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer, Zeroizing};
    use serde::de::Error as _;

    pub fn serialize<S: Serializer>(bytes: &Zeroizing<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(bytes.as_slice())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("no base64"))?;
        Ok(Zeroizing::new(bytes))
    }
}
