//! Private keys: made, read, written, signing.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
};
use der::asn1::OctetString;
use der::{Any, Decode, Sequence};
use mainstay_secrets_engine::Refusal;
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::signature::{self, Hash, Scheme};

/// A kind of key, with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa { bits: u32 },
    Ec(Curve),
    Ed25519,
}

/// A curve of NIST's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
    P521,
}

/// A private key. It is zeroized when it is dropped: what is ours here, what is the library's there.
pub struct PrivateKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key's file: its PEM label and what is in it.
pub struct KeyFile {
    pub label: &'static str,
    pub der: Zeroizing<Vec<u8>>,
}

// === impl KeyKind ===

impl KeyKind {
    /// Reads `key_type` and `key_bits`, where 0 bits mean the default of the type.
    pub fn parse(key_type: &str, bits: u64) -> Result<Self, Refusal> {
        match (key_type, bits) {
            ("rsa", 0) => Ok(Self::Rsa { bits: 2048 }),
            ("rsa", 2048 | 3072 | 4096 | 8192) => Ok(Self::Rsa { bits: bits as u32 }),
            ("rsa", ..2048) => Err(Refusal::invalid("RSA keys < 2048 bits are unsafe and not supported")),
            ("rsa", _) => Err(Refusal::invalid(format!("unsupported bit length for RSA key: {bits}"))),
            ("ec", 0 | 256) => Ok(Self::Ec(Curve::P256)),
            ("ec", 384) => Ok(Self::Ec(Curve::P384)),
            ("ec", 521) => Ok(Self::Ec(Curve::P521)),
            ("ec", _) => Err(Refusal::invalid(format!("unsupported bit length for EC key: {bits}"))),
            ("ed25519", _) => Ok(Self::Ed25519),
            _ => Err(Refusal::invalid(format!("unknown key type {key_type}"))),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa { .. } => "rsa",
            Self::Ec(_) => "ec",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The size as roles say it: 0 where a type has only one.
    pub fn bits(self) -> u32 {
        match self {
            Self::Rsa { bits } => bits,
            Self::Ec(Curve::P256) => 256,
            Self::Ec(Curve::P384) => 384,
            Self::Ec(Curve::P521) => 521,
            Self::Ed25519 => 0,
        }
    }
}

impl Curve {
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }
}

// === impl PrivateKey ===

impl PrivateKey {
    /// Makes a key. A large RSA key takes seconds: not for a thread that serves others.
    pub fn generate(kind: KeyKind) -> Result<Self, Refusal> {
        let failed = |error| Refusal::failed("no key could be made", error);
        let pair = match kind {
            KeyKind::Rsa { bits } => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    _ => KeySize::Rsa8192,
                };
                Pair::Rsa(Box::new(RsaKeyPair::generate(size).map_err(failed)?))
            }
            KeyKind::Ec(curve) => Pair::Ec(curve, EcdsaKeyPair::generate(curve.signing()).map_err(failed)?),
            KeyKind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Self::of(pair).ok_or_else(|| Refusal::Failed { what: "the new key cannot be written".into(), source: None })
    }

    /// Reads a key in PKCS #8, PKCS #1 or SEC 1. None where it is no key of a kind that there is.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
        let ec = || {
            [Curve::P256, Curve::P384, Curve::P521].into_iter().find_map(|curve| {
                let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der);
                pair.ok().map(|pair| Pair::Ec(curve, pair))
            })
        };
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Pair::Ed25519);
        let pair = rsa().map(|pair| Pair::Rsa(Box::new(pair))).or_else(ec).or_else(ed25519)?;
        Self::of(pair)
    }

    fn of(pair: Pair) -> Option<Self> {
        let pkcs8 = match &pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair.as_ref()).ok()?.as_ref().to_vec(),
            Pair::Ec(_, pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Pair::Ed25519(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).ok()?.as_ref().to_vec(),
        };
        Some(Self { pair, pkcs8: Zeroizing::new(pkcs8) })
    }

    pub fn kind(&self) -> KeyKind {
        match &self.pair {
            Pair::Rsa(pair) => KeyKind::Rsa { bits: pair.public_modulus_len() as u32 * 8 },
            Pair::Ec(curve, _) => KeyKind::Ec(*curve),
            Pair::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The key in PKCS #8, which is how it is kept.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The key as Vault gives it out where nobody asks for PKCS #8: each type in the form that came first.
    pub fn traditional(&self) -> Result<KeyFile, Refusal> {
        let unreadable = || Refusal::Failed { what: "the key cannot be written".to_owned(), source: None };
        match &self.pair {
            Pair::Rsa(_) => {
                let key = PrivateKeyInfo::from_der(&self.pkcs8).map_err(|_| unreadable())?;
                Ok(KeyFile { label: "RSA PRIVATE KEY", der: Zeroizing::new(key.private_key.into_bytes().into()) })
            }
            Pair::Ec(_, pair) => {
                let key: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(|_| unreadable())?;
                Ok(KeyFile { label: "EC PRIVATE KEY", der: Zeroizing::new(key.as_ref().to_vec()) })
            }
            Pair::Ed25519(_) => Ok(self.modern()),
        }
    }

    /// The key in PKCS #8.
    pub fn modern(&self) -> KeyFile {
        KeyFile { label: "PRIVATE KEY", der: self.pkcs8.clone() }
    }

    pub fn public(&self) -> Result<SubjectPublicKeyInfo, Refusal> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(_, pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        let der = der.map_err(|error| Refusal::failed("the public key cannot be written", error))?;
        SubjectPublicKeyInfo::from_der(der.as_ref()).map_err(|e| Refusal::failed("the public key cannot be read", e))
    }

    /// Signs. `hash` counts for RSA; other keys have the hash of their size.
    pub fn sign(&self, hash: Hash, message: &[u8]) -> Result<(AlgorithmIdentifier, Vec<u8>), Refusal> {
        let failed = |error| Refusal::failed("the key does not sign", error);
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding = match hash {
                    Hash::Sha256 => &RSA_PKCS1_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map_err(failed)?;
                Ok((signature::identifier(Scheme::Rsa(hash)), signature))
            }
            Pair::Ec(curve, pair) => {
                let signature = pair.sign(&random, message).map_err(failed)?;
                Ok((signature::identifier(Scheme::Ecdsa(curve.hash())), signature.as_ref().to_vec()))
            }
            Pair::Ed25519(pair) => Ok((signature::identifier(Scheme::Ed25519), pair.sign(message).as_ref().to_vec())),
        }
    }
}

/// A key in PKCS #8 (RFC 5208), as far as the key inside is wanted.
#[derive(Sequence)]
struct PrivateKeyInfo {
    version: u8,
    algorithm: Any,
    private_key: OctetString,
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, PrivateKey};
    use crate::signature::Hash;

    #[test]
    fn keys_survive_being_written_and_read() {
        for (kind, bits) in [("rsa", 0), ("ec", 0), ("ec", 384), ("ec", 521), ("ed25519", 0)] {
            let kind = KeyKind::parse(kind, bits).unwrap();
            let key = PrivateKey::generate(kind).unwrap();
            let traditional = key.traditional().unwrap();
            for der in [key.pkcs8(), &traditional.der] {
                let read = PrivateKey::from_der(der).unwrap();
                assert_eq!(read.kind(), kind);
                assert_eq!(read.public().unwrap(), key.public().unwrap());
                assert!(read.sign(Hash::Sha256, b"text").is_ok());
            }
        }
        assert!(PrivateKey::from_der(b"no key").is_none());
        for (kind, bits) in [("rsa", 1024), ("rsa", 2049), ("ec", 224), ("dsa", 0)] {
            assert!(KeyKind::parse(kind, bits).is_err(), "{kind} {bits}");
        }
    }
}
