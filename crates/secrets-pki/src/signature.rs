//! Signatures: how they are named, and whether they are right.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{BitString, ObjectIdentifier};
use der::{Any, Encode, Sequence};
use mainstay_secrets_engine::Refusal;
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::key::{Curve, KeyKind, PrivateKey};

/// The hash of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Rsa(Hash),
    Ecdsa(Hash),
    Ed25519,
}

/// Anything signed: a certificate, a request, a revocation list and an OCSP answer all have this form.
#[derive(Clone, Sequence)]
pub struct Signed {
    pub body: Any,
    pub algorithm: AlgorithmIdentifier,
    pub signature: BitString,
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, Curve); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), Curve::P256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), Curve::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), Curve::P521),
];
const SCHEMES: [(ObjectIdentifier, Scheme); 7] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Scheme::Rsa(Hash::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), Scheme::Rsa(Hash::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), Scheme::Rsa(Hash::Sha512)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), Scheme::Ecdsa(Hash::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), Scheme::Ecdsa(Hash::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), Scheme::Ecdsa(Hash::Sha512)),
    (ED, Scheme::Ed25519),
];

impl Hash {
    /// Reads `signature_bits`, where 0 means the default.
    pub fn parse(bits: u64) -> Result<Self, Refusal> {
        match bits {
            0 | 256 => Ok(Self::Sha256),
            384 => Ok(Self::Sha384),
            512 => Ok(Self::Sha512),
            _ => Err(Refusal::invalid(format!("unsupported hash signature algorithm: {bits}"))),
        }
    }
}

impl Signed {
    /// Whether the key made the signature.
    pub fn is_by(&self, key: &SubjectPublicKeyInfo) -> bool {
        let Some(scheme) = SCHEMES.iter().find(|(oid, _)| *oid == self.algorithm.oid) else { return false };
        let Some(algorithm) = verification(scheme.1, key_kind(key)) else { return false };
        let Ok(message) = self.body.to_der() else { return false };
        let key = UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes());
        key.verify(&message, self.signature.raw_bytes()).is_ok()
    }
}

/// Signs something that can be written in DER: `body`, how it is signed, and the signature.
///
/// `body` is asked twice, as most of what is signed says inside how it is signed.
pub fn sign<B: Encode>(
    key: &PrivateKey,
    hash: Hash,
    body: impl Fn(AlgorithmIdentifier) -> Result<B, der::Error>,
) -> Result<Vec<u8>, Refusal> {
    let encoded = body(algorithm(key, hash)).and_then(|body| body.to_der()).map_err(unencodable)?;
    let (algorithm, signature) = key.sign(hash, &encoded)?;
    let signature = BitString::from_bytes(&signature).map_err(unencodable)?;
    let body: Any = der::Decode::from_der(&encoded).map_err(unencodable)?;
    Signed { body, algorithm, signature }.to_der().map_err(unencodable)
}

/// Something has no form in DER: a text with letters that its place in a certificate cannot have, most likely.
pub fn unencodable(error: der::Error) -> Refusal {
    Refusal::invalid(format!("a value cannot be put into a certificate: {error}"))
}

/// The name of a way of signing.
pub fn identifier(scheme: Scheme) -> AlgorithmIdentifier {
    let (oid, _) = SCHEMES.iter().find(|(_, known)| *known == scheme).copied().unwrap_or(SCHEMES[0]);
    // RSA has a NULL there, and the others have nothing (RFC 4055, 5; RFC 5758, 3.2; RFC 8410, 3).
    AlgorithmIdentifier { oid, parameters: matches!(scheme, Scheme::Rsa(_)).then(Any::null) }
}

/// The kind of a public key. None where it is none of those that there are.
pub fn key_kind(key: &SubjectPublicKeyInfo) -> Option<KeyKind> {
    match key.algorithm.oid {
        RSA => {
            let key: RsaPublicKey = der::Decode::from_der(key.subject_public_key.raw_bytes()).ok()?;
            let significant = key.modulus.as_bytes();
            let bits = significant.len() as u32 * 8 - significant.first()?.leading_zeros();
            Some(KeyKind::Rsa { bits })
        }
        EC => {
            let curve: ObjectIdentifier = key.algorithm.parameters.as_ref()?.decode_as().ok()?;
            CURVES.iter().find(|(oid, _)| *oid == curve).map(|(_, curve)| KeyKind::Ec(*curve))
        }
        ED => Some(KeyKind::Ed25519),
        _ => None,
    }
}

/// The identifier of a public key (RFC 5280, 4.2.1.2, method 1). SHA-1 is a name here, and protects nothing.
pub fn key_identifier(key: &SubjectPublicKeyInfo) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.subject_public_key.raw_bytes());
    digest.as_ref().to_vec()
}

fn algorithm(key: &PrivateKey, hash: Hash) -> AlgorithmIdentifier {
    identifier(match key.kind() {
        KeyKind::Rsa { .. } => Scheme::Rsa(hash),
        KeyKind::Ec(Curve::P256) => Scheme::Ecdsa(Hash::Sha256),
        KeyKind::Ec(Curve::P384) => Scheme::Ecdsa(Hash::Sha384),
        KeyKind::Ec(Curve::P521) => Scheme::Ecdsa(Hash::Sha512),
        KeyKind::Ed25519 => Scheme::Ed25519,
    })
}

fn verification(scheme: Scheme, key: Option<KeyKind>) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (scheme, key?) {
        (Scheme::Rsa(Hash::Sha256), KeyKind::Rsa { .. }) => &RSA_PKCS1_2048_8192_SHA256,
        (Scheme::Rsa(Hash::Sha384), KeyKind::Rsa { .. }) => &RSA_PKCS1_2048_8192_SHA384,
        (Scheme::Rsa(Hash::Sha512), KeyKind::Rsa { .. }) => &RSA_PKCS1_2048_8192_SHA512,
        (Scheme::Ecdsa(Hash::Sha256), KeyKind::Ec(Curve::P256)) => &ECDSA_P256_SHA256_ASN1,
        (Scheme::Ecdsa(Hash::Sha384), KeyKind::Ec(Curve::P256)) => &ECDSA_P256_SHA384_ASN1,
        (Scheme::Ecdsa(Hash::Sha512), KeyKind::Ec(Curve::P256)) => &ECDSA_P256_SHA512_ASN1,
        (Scheme::Ecdsa(Hash::Sha256), KeyKind::Ec(Curve::P384)) => &ECDSA_P384_SHA256_ASN1,
        (Scheme::Ecdsa(Hash::Sha384), KeyKind::Ec(Curve::P384)) => &ECDSA_P384_SHA384_ASN1,
        (Scheme::Ecdsa(Hash::Sha512), KeyKind::Ec(Curve::P384)) => &ECDSA_P384_SHA512_ASN1,
        (Scheme::Ecdsa(Hash::Sha256), KeyKind::Ec(Curve::P521)) => &ECDSA_P521_SHA256_ASN1,
        (Scheme::Ecdsa(Hash::Sha384), KeyKind::Ec(Curve::P521)) => &ECDSA_P521_SHA384_ASN1,
        (Scheme::Ecdsa(Hash::Sha512), KeyKind::Ec(Curve::P521)) => &ECDSA_P521_SHA512_ASN1,
        (Scheme::Ed25519, KeyKind::Ed25519) => &ED25519,
        _ => return None,
    })
}

/// An RSA public key (RFC 8017, A.1.1).
#[derive(Sequence)]
struct RsaPublicKey {
    modulus: der::asn1::Uint,
    public_exponent: der::asn1::Uint,
}
