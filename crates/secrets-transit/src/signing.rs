//! Signatures: which version of a key makes and checks them, and with which of its algorithms.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::hashing::Hash;
use crate::key::Key;
use crate::material::{Material, derive_ed25519};
use crate::rejection::Rejection;
use crate::rsa::Scheme;
use crate::wire::{self, Alphabet, Noun};

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marshaling {
    /// As X.509 has it.
    Asn1,
    /// As a JSON web signature has it, in base64 for addresses.
    Jws,
}

/// How RSA pads what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Pss,
    Pkcs1,
}

/// How long the salt of PSS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salt {
    /// The longest one in a new signature, any likely one in a signature that is checked.
    Auto,
    /// As long as the hash.
    Hash,
    Length(u16),
}

/// What a caller wants of a signature.
#[derive(Debug, Clone, Copy)]
pub struct SigningOptions {
    /// None where the input is signed as it is.
    pub hash: Option<Hash>,
    pub prehashed: bool,
    pub padding: Padding,
    pub salt: Salt,
    pub marshaling: Marshaling,
}

/// A signature and who made it.
pub struct Signed {
    pub signature: String,
    pub version: u32,
    /// With a derived key only: the public key of the context.
    pub public_key: Option<Vec<u8>>,
}

impl Key {
    /// Signs an input with a version; 0 is the latest.
    pub fn sign(
        &self,
        version: i64,
        context: &[u8],
        input: &[u8],
        options: &SigningOptions,
    ) -> Result<Signed, Rejection> {
        let version = self.encrypting_version(version, "signing")?;
        let mut public_key = None;
        let signature = match &self.version(version)?.material {
            Material::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Material::DerivedEd25519(prk) => {
                let pair = derive_ed25519(prk, context)?;
                public_key = Some(pair.public_key().as_ref().to_vec());
                pair.sign(input).as_ref().to_vec()
            }
            Material::Ecdsa(pair) => options.hashed(input, |hash| pair.sign(hash, options.marshaling))?,
            Material::Rsa(pair) => options.hashed(input, |hash| pair.sign(hash, options.scheme()))?,
            Material::Cipher(_) | Material::DerivedCipher(_) | Material::Hmac => return Err(self.signs_not("signing")),
        };
        let signature = wire::write(version, &signature, options.marshaling.alphabet());
        Ok(Signed { signature, version, public_key })
    }

    /// Whether a signature is of this key and this input.
    pub fn verify(
        &self,
        context: &[u8],
        input: &[u8],
        signature: &str,
        options: &SigningOptions,
    ) -> Result<bool, Rejection> {
        let (version, encoded) = wire::split(signature, Noun::Signature)?;
        let version = self.decrypting_version(version, "invalid signature: version is too new")?;
        let signature = wire::decode_exactly(encoded, options.marshaling.alphabet())
            .map_err(|_| Rejection::mistake("invalid base64 signature value"))?;
        match &self.version(version)?.material {
            Material::Ed25519(pair) => Ok(checks(pair, input, &signature)),
            Material::DerivedEd25519(prk) => Ok(checks(&derive_ed25519(prk, context)?, input, &signature)),
            Material::Ecdsa(pair) => options.hashed(input, |hash| pair.verify(hash, &signature, options.marshaling)),
            Material::Rsa(pair) => options.hashed(input, |hash| pair.verify(hash, &signature, options.scheme())),
            Material::Cipher(_) | Material::DerivedCipher(_) | Material::Hmac => Err(self.signs_not("verification")),
        }
    }

    fn signs_not(&self, purpose: &str) -> Rejection {
        Rejection::mistake(format!("key type {} does not support {purpose}", self.settings.key_type))
    }
}

impl SigningOptions {
    /// Does something with the hash of an input.
    fn hashed<T>(&self, input: &[u8], then: impl FnOnce(&[u8]) -> Result<T, Rejection>) -> Result<T, Rejection> {
        match self.hash {
            Some(hash) if !self.prehashed => then(hash.digest(input).as_ref()),
            _ => then(input),
        }
    }

    fn scheme(&self) -> Scheme {
        Scheme { padding: self.padding, hash: self.hash, salt: self.salt }
    }
}

impl Marshaling {
    fn alphabet(self) -> Alphabet {
        match self {
            Self::Asn1 => Alphabet::Standard,
            Self::Jws => Alphabet::Url,
        }
    }
}

fn checks(pair: &Ed25519KeyPair, input: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, pair.public_key()).verify(input, signature).is_ok()
}
