//! Asking an issuer for its keys.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::jwt::keys::Key;

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The key set itself.
    Jwks { url: String, ca_pem: String },
    /// The issuer, whose discovery document says where the key set is.
    Discovery { issuer: String, ca_pem: String },
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{url:?} is not an http or https URL")]
    Url { url: String },
    #[error("could not parse CA PEM value successfully")]
    CaPem,
    #[error("{url} cannot be fetched")]
    Http {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("what {url} answers is not the JSON that it should be")]
    Json {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the discovery document of {expected} is that of {found}; the two have to be the same, to the last slash")]
    Issuer { expected: String, found: String },
    #[error("{url} has {number} keys and may have {MOST_KEYS}")]
    TooManyKeys { url: String, number: usize },
    #[error("the request for the keys was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// How long one answer may take in all: a login waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer, in bytes after decompression: a key set of a hundred keys with certificates is smaller.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How many keys are taken: a token that names none is tried with each.
const MOST_KEYS: usize = 100;

/// How many redirects are followed, from https to https only.
const REDIRECTS: u32 = 3;

const DISCOVERY_DOCUMENT: &str = ".well-known/openid-configuration";

/// The part of a discovery document that is needed (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A key set (RFC 7517, section 5).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// The issuer's keys.
pub(super) async fn fetch(place: Place) -> Result<Vec<Key>, FetchError> {
    tokio::task::spawn_blocking(move || fetch_blocking(&place)).await.map_err(FetchError::Interrupted)?
}

/// Whether text holds certificates, or nothing at all.
pub(super) fn check_ca_pem(ca_pem: &str) -> Result<(), FetchError> {
    root_certificates(ca_pem).map(drop)
}

fn fetch_blocking(place: &Place) -> Result<Vec<Key>, FetchError> {
    let (url, ca_pem) = match place {
        Place::Jwks { url, ca_pem } => (url.clone(), ca_pem),
        Place::Discovery { issuer, ca_pem } => {
            let url = format!("{}/{DISCOVERY_DOCUMENT}", issuer.trim_end_matches('/'));
            let document: Discovery = get(&url, ca_pem)?;
            if document.issuer != *issuer {
                return Err(FetchError::Issuer { expected: issuer.clone(), found: document.issuer });
            }
            (document.jwks_uri, ca_pem)
        }
    };
    let set: KeySet = get(&url, ca_pem)?;
    if set.keys.len() > MOST_KEYS {
        return Err(FetchError::TooManyKeys { url, number: set.keys.len() });
    }
    Ok(set.keys.into_iter().filter_map(Key::from_jwk).collect())
}

fn get<T: DeserializeOwned>(url: &str, ca_pem: &str) -> Result<T, FetchError> {
    let failed = |source| FetchError::Http { url: url.to_owned(), source: Box::new(source) };
    let mut response = agent(url, ca_pem)?.get(url).header("accept", "application/json").call().map_err(failed)?;
    let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(failed)?;
    serde_json::from_slice(&body).map_err(|source| FetchError::Json { url: url.to_owned(), source })
}

fn agent(url: &str, ca_pem: &str) -> Result<Agent, FetchError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let secure = match scheme.as_deref() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(FetchError::Url { url: url.to_owned() }),
    };
    let mut tls = TlsConfig::builder();
    if let Some(certificates) = root_certificates(ca_pem)? {
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .https_only(secure)
        .max_redirects(if secure { REDIRECTS } else { 0 })
        .max_redirects_will_error(true)
        .tls_config(tls.build());
    Ok(config.build().new_agent())
}

/// The certificates to trust; none where those that the program brings along are to be trusted.
fn root_certificates(ca_pem: &str) -> Result<Option<Vec<Certificate<'static>>>, FetchError> {
    if ca_pem.trim().is_empty() {
        return Ok(None);
    }
    let mut certificates = Vec::new();
    for item in parse_pem(ca_pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| FetchError::CaPem)? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(FetchError::CaPem) } else { Ok(Some(certificates)) }
}
