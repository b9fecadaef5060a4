//! ECDSA on the curves of NIST.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaPublicKey, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};

use crate::entry::Secret;
use crate::key_type::KeyType;
use crate::rejection::Rejection;
use crate::signing::Marshaling;

/// A key pair. The library ties the form of a signature to the key, so there is one for each form.
pub struct EcdsaPair {
    curve: &'static Curve,
    asn1: Half,
    fixed: Half,
}

struct Half {
    private: EcdsaKeyPair,
    public: ParsedPublicKey,
}

struct Curve {
    /// The hash that is as long as the curve's order or, with P-521, a little shorter.
    hash: &'static digest::Algorithm,
    /// How many bytes of a hash count.
    order_length: usize,
    asn1: (&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
    fixed: (&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
}

static P256: Curve = Curve {
    hash: &digest::SHA256,
    order_length: 32,
    asn1: (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1),
    fixed: (&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED),
};

static P384: Curve = Curve {
    hash: &digest::SHA384,
    order_length: 48,
    asn1: (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1),
    fixed: (&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED),
};

static P521: Curve = Curve {
    hash: &digest::SHA512,
    order_length: 66,
    asn1: (&ECDSA_P521_SHA512_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1),
    fixed: (&ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED),
};

impl EcdsaPair {
    /// A new key, as PKCS#8.
    pub fn generate(key_type: KeyType) -> Result<Secret, Rejection> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve(key_type).asn1.0, &SystemRandom::new())?;
        Ok(Secret::new(pkcs8.as_ref().to_vec()))
    }

    pub fn open(key_type: KeyType, pkcs8: &[u8]) -> Option<Self> {
        let curve = curve(key_type);
        let half = |(signing, verification): (_, &'static EcdsaVerificationAlgorithm)| {
            let private = EcdsaKeyPair::from_pkcs8(signing, pkcs8).ok()?;
            let public = ParsedPublicKey::new(verification, private.public_key().as_ref()).ok()?;
            Some(Half { private, public })
        };
        Some(Self { curve, asn1: half(curve.asn1)?, fixed: half(curve.fixed)? })
    }

    pub fn public_key(&self) -> &EcdsaPublicKey {
        self.asn1.private.public_key()
    }

    /// The private key as SEC 1 has it (RFC 5915).
    pub fn sec1(&self) -> Result<Secret, Rejection> {
        let der: EcPrivateKeyRfc5915Der<'_> = self.asn1.private.private_key().as_der()?;
        Ok(Secret::new(der.as_ref().to_vec()))
    }

    pub fn sign(&self, hash: &[u8], marshaling: Marshaling) -> Result<Vec<u8>, Rejection> {
        let signature = self.half(marshaling).private.sign_digest(&self.fit(hash)?)?;
        Ok(signature.as_ref().to_vec())
    }

    pub fn verify(&self, hash: &[u8], signature: &[u8], marshaling: Marshaling) -> Result<bool, Rejection> {
        Ok(self.half(marshaling).public.verify_digest_sig(&self.fit(hash)?, signature).is_ok())
    }

    /// A hash of any length as the one that the library wants on this curve. ECDSA takes the leftmost bits of a hash as
    /// a number (SEC 1, section 4.1.3): cutting what is beyond the order and filling with zeros before changes nothing.
    fn fit(&self, hash: &[u8]) -> Result<Digest, Rejection> {
        let mut fitted = [0; digest::MAX_OUTPUT_LEN];
        let fitted = &mut fitted[..self.curve.hash.output_len()];
        let significant = &hash[..hash.len().min(self.curve.order_length)];
        let Some(start) = fitted.len().checked_sub(significant.len()) else {
            return Err(Rejection::mistake("a prehashed input of more than 64 bytes cannot be signed on P-521"));
        };
        fitted[start..].copy_from_slice(significant);
        Ok(Digest::import_less_safe(fitted, self.curve.hash)?)
    }

    fn half(&self, marshaling: Marshaling) -> &Half {
        match marshaling {
            Marshaling::Asn1 => &self.asn1,
            Marshaling::Jws => &self.fixed,
        }
    }
}

fn curve(key_type: KeyType) -> &'static Curve {
    match key_type {
        KeyType::EcdsaP521 => &P521,
        KeyType::EcdsaP384 => &P384,
        _ => &P256,
    }
}
