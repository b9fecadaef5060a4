//! A configuration, ready for use.

use jsonwebtoken::{Algorithm, Header};
use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use serde_json::{Map, Value};

use crate::jwt::config::Config;
use crate::jwt::issuer::Place;
use crate::jwt::key_source::KeySource;
use crate::jwt::keys::{ALGORITHMS, Key};

/// What tokens are verified with.
pub(super) struct Settings {
    pub config: Config,
    algorithms: Vec<Algorithm>,
    pub keys: KeySource,
}

/// The longest token, in bytes: tokens that list somebody's groups have some ten thousand.
const LONGEST_TOKEN: usize = 64 << 10;

impl Settings {
    pub fn new(config: Config) -> Result<Self, Refusal> {
        let algorithms = algorithms(&config.jwt_supported_algs)?;
        let keys = if !config.jwt_validation_pubkeys.is_empty() {
            let keys = config.jwt_validation_pubkeys.iter().map(|pem| Key::from_pem(pem));
            let keys: Option<Vec<Key>> = keys.collect();
            KeySource::Given(keys.ok_or_else(|| {
                Refusal::invalid("error parsing public key: data does not contain any valid public keys")
            })?)
        } else if !config.jwks_url.is_empty() {
            let (url, ca_pem) = (config.jwks_url.clone(), config.jwks_ca_pem.clone());
            KeySource::of_issuer(Place::Jwks { url, ca_pem })
        } else {
            let (issuer, ca_pem) = (config.oidc_discovery_url.clone(), config.oidc_discovery_ca_pem.clone());
            KeySource::of_issuer(Place::Discovery { issuer, ca_pem })
        };
        Ok(Self { config, algorithms, keys })
    }

    /// The claims of a token that a trusted key has signed, with an algorithm that is trusted. Nothing else about them
    /// is known yet.
    pub async fn signed_claims(&self, token: &str, now: Timestamp) -> Result<Map<String, Value>, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::Invalid(format!(
                "error validating token: it has {} bytes and may have {LONGEST_TOKEN}",
                token.len()
            )));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| {
            Refusal::invalid("error validating token: it is not a JSON Web Token signed with an algorithm known here")
        })?;
        self.check_header(&header)?;
        self.keys.verify(token, &header, now).await?;
        jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| {
            Refusal::invalid(
                "error validating token: its claims are not a JSON object, or one that is nested too deeply",
            )
        })
    }

    fn check_header(&self, header: &Header) -> Result<(), Refusal> {
        if !self.algorithms.contains(&header.alg) {
            return Err(Refusal::invalid(
                "error validating token: invalid algorithm (alg) header parameter: token signed with unexpected algorithm",
            ));
        }
        // RFC 7515, section 4.1.11: what is critical and not understood makes a token invalid. Nothing is understood.
        if header.crit.is_some() {
            return Err(Refusal::invalid("error validating token: unsupported critical (crit) header parameter"));
        }
        Ok(())
    }
}

/// The algorithms of these names; all where there is none.
pub(super) fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, Refusal> {
    if names.is_empty() {
        return Ok(ALGORITHMS.to_vec());
    }
    let parsed = names.iter().map(|name| {
        let algorithm = name.parse::<Algorithm>().ok().filter(|algorithm| ALGORITHMS.contains(algorithm));
        algorithm.ok_or_else(|| {
            Refusal::Invalid(format!("invalid jwt_supported_algs: unsupported signing algorithm {name:?}"))
        })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::{ALGORITHMS, algorithms};

    #[test]
    fn no_algorithm_is_symmetric_or_none() {
        assert_eq!(algorithms(&[]).unwrap(), ALGORITHMS);
        for good in ["RS256", "ES384", "PS512", "EdDSA"] {
            assert_eq!(algorithms(&[good.to_owned()]).unwrap().len(), 1);
        }
        for bad in ["none", "None", "HS256", "HS512", "rs256", ""] {
            assert!(algorithms(&["RS256".to_owned(), bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
