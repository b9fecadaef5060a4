//! Keys of an issuer, and what they have signed.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde_json::Value;

/// A public key.
pub(super) struct Key {
    /// What tokens call it; none where they cannot.
    id: Option<String>,
    /// The only algorithm that it is for, where its issuer said one.
    algorithm: Option<String>,
    key: DecodingKey,
}

/// What became of looking for the key that signed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Signed,
    /// None of the keys fits. Newer ones might.
    NoSuchKey,
    /// The key that the token names did not sign it.
    Forged,
}

/// Every algorithm there is a verification for. None of them is symmetric: a public key as a shared secret would let
/// everybody sign.
pub(super) const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::EdDSA,
];

// === impl Key ===

impl Key {
    /// A key, or a certificate's, in PEM.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ec_pem(pem));
        let key = key.or_else(|_| DecodingKey::from_ed_pem(pem)).ok()?;
        Some(Self { id: None, algorithm: None, key })
    }

    /// A key of a key set (RFC 7517). None where it is of a kind that signs no token here: a shared secret, a key for
    /// encryption, a curve that nobody knows.
    pub fn from_jwk(jwk: Value) -> Option<Self> {
        let algorithm = jwk.get("alg").and_then(Value::as_str).map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let asymmetric = matches!(
            jwk.algorithm,
            AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
        );
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs && asymmetric)?;
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key })
    }

    /// Whether this key signed a token.
    fn signed(&self, token: &str, algorithm: Algorithm) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else { return false };
        let signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm);
        signed.unwrap_or(false)
    }

    fn may_sign(&self, algorithm: Algorithm) -> bool {
        let named = |name: &String| name.parse::<Algorithm>().ok() == Some(algorithm);
        algorithm.family() == self.key.family() && self.algorithm.as_ref().is_none_or(named)
    }
}

/// Looks for the key that signed a token.
pub(super) fn verify(token: &str, header: &Header, keys: &[Key]) -> Verdict {
    let mut named = false;
    for key in keys {
        let by_name = key.id.is_some() && key.id == header.kid;
        named |= by_name;
        let possible = by_name || key.id.is_none() || header.kid.is_none();
        if possible && key.may_sign(header.alg) && key.signed(token, header.alg) {
            return Verdict::Signed;
        }
    }
    if named { Verdict::Forged } else { Verdict::NoSuchKey }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Key;

    #[test]
    fn only_public_keys_that_sign_are_taken() {
        let rsa = json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"});
        assert!(Key::from_jwk(rsa.clone()).is_some());
        let mut encrypts = rsa.clone();
        encrypts["use"] = json!("enc");
        assert!(Key::from_jwk(encrypts).is_none());
        let mut signs = rsa;
        signs["use"] = json!("sig");
        assert!(Key::from_jwk(signs).is_some());
        for unfit in [
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "RSA"}),
            json!({"kty": "other"}),
            json!("RSA"),
            json!(null),
        ] {
            assert!(Key::from_jwk(unfit.clone()).is_none(), "{unfit}");
        }
        for pem in ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
            assert!(Key::from_pem(pem).is_none());
        }
    }
}
