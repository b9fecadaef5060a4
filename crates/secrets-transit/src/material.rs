//! Raw keys: made, and made ready to be used.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, Prk};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{hmac, rand};
use mainstay_types::Timestamp;
use zeroize::Zeroizing;

use crate::cipher::Cipher;
use crate::ecdsa::EcdsaPair;
use crate::entry::{Secret, Settings, StoredVersion};
use crate::key_type::{Family, KeyType};
use crate::pem;
use crate::rejection::Rejection;
use crate::rsa::RsaPair;
use crate::wire;

/// How long the key for MACs is that every version has beside its own.
const HMAC_KEY_LENGTH: usize = 32;
/// How long an Ed25519 seed is (RFC 8032, section 5.1.5).
const SEED_LENGTH: usize = 32;
/// The longest key that is derived: a cipher's and one for nonces.
const LONGEST_DERIVED: usize = 64;

/// A raw key, made ready to be used. It is wiped when it is dropped: by aws-lc what aws-lc holds.
pub enum Material {
    Cipher(Cipher),
    /// Each context has a cipher of its own.
    DerivedCipher(Prk),
    Ed25519(Ed25519KeyPair),
    /// Each context has a key pair of its own.
    DerivedEd25519(Prk),
    Ecdsa(Box<EcdsaPair>),
    Rsa(Box<RsaPair>),
    /// It has nothing but its key for MACs.
    Hmac,
}

/// A cipher for one context, and with convergent encryption the key that its nonces come from.
pub struct DerivedCipher {
    pub cipher: Cipher,
    pub nonces: hmac::Key,
}

/// Makes a new version of a key. RSA takes up to seconds: call it where that blocks nobody.
pub fn generate(settings: &Settings, now: Timestamp) -> Result<StoredVersion, Rejection> {
    let random = |length| -> Result<Secret, Rejection> {
        let mut bytes = vec![0; length];
        rand::fill(&mut bytes)?;
        Ok(Secret::new(bytes))
    };
    let hmac_key = random(HMAC_KEY_LENGTH)?;
    let (key, hmac_key) = match settings.key_type.family() {
        Family::Symmetric => (random(settings.key_type.cipher_key_length())?, hmac_key),
        Family::Hmac => (random(settings.key_size as usize)?, Secret::new(Vec::new())),
        Family::Ed25519 => {
            let seed = random(SEED_LENGTH)?;
            let pair = ed25519(seed.bytes())?;
            (Secret::new([seed.bytes(), pair.public_key().as_ref()].concat()), hmac_key)
        }
        Family::Ecdsa => (EcdsaPair::generate(settings.key_type)?, hmac_key),
        Family::Rsa(size) => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(size)?;
            let der: Pkcs8V1Der<'_> = pair.as_der()?;
            (Secret::new(der.as_ref().to_vec()), hmac_key)
        }
    };
    Ok(StoredVersion { created: now, key, hmac_key })
}

impl Material {
    /// Makes a stored key ready.
    pub fn open(settings: &Settings, key: &[u8]) -> Result<Self, Rejection> {
        let unusable = || Rejection::failure(format!("a stored {} key cannot be read", settings.key_type));
        let extracted = || hkdf::Salt::new(HKDF_SHA256, &[]).extract(key);
        match settings.key_type.family() {
            Family::Symmetric if key.len() != settings.key_type.cipher_key_length() => Err(unusable()),
            Family::Symmetric if settings.derived => Ok(Self::DerivedCipher(extracted())),
            Family::Symmetric => Cipher::new(settings.key_type, key).map(Self::Cipher),
            Family::Ed25519 if key.len() != 2 * SEED_LENGTH => Err(unusable()),
            Family::Ed25519 if settings.derived => Ok(Self::DerivedEd25519(extracted())),
            Family::Ed25519 => {
                let (seed, public) = key.split_at(SEED_LENGTH);
                let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
                pair.map(Self::Ed25519).map_err(|_| unusable())
            }
            Family::Ecdsa => {
                let pair = EcdsaPair::open(settings.key_type, key).ok_or_else(unusable)?;
                Ok(Self::Ecdsa(Box::new(pair)))
            }
            Family::Rsa(_) => Ok(Self::Rsa(Box::new(RsaPair::open(key).ok_or_else(unusable)?))),
            Family::Hmac => Ok(Self::Hmac),
        }
    }

    /// The public key as the API shows it: PEM, or for Ed25519 base64. That of a derived key depends on the context.
    pub fn public_key(&self) -> Result<Option<String>, Rejection> {
        Ok(match self {
            Self::Ed25519(pair) => Some(wire::encode(pair.public_key().as_ref())),
            Self::DerivedEd25519(_) => Some(String::new()),
            Self::Ecdsa(_) | Self::Rsa(_) => self.public_der()?.map(|der| pem::encode("PUBLIC KEY", &der)),
            Self::Cipher(_) | Self::DerivedCipher(_) | Self::Hmac => None,
        })
    }

    /// The public key as `SubjectPublicKeyInfo` (RFC 5280).
    pub fn public_der(&self) -> Result<Option<Vec<u8>>, Rejection> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ed25519(pair) => pair.public_key().as_der()?,
            Self::Ecdsa(pair) => pair.public_key().as_der()?,
            Self::Rsa(pair) => pair.public_key().as_der()?,
            _ => return Ok(None),
        };
        Ok(Some(der.as_ref().to_vec()))
    }
}

/// The cipher for a context.
pub fn derive_cipher(prk: &Prk, key_type: KeyType, context: &[u8]) -> Result<DerivedCipher, Rejection> {
    let length = key_type.cipher_key_length();
    let mut keys = Zeroizing::new([0; LONGEST_DERIVED]);
    let keys = &mut keys[..length + HMAC_KEY_LENGTH];
    expand(prk, context, keys)?;
    let (cipher, nonces) = keys.split_at(length);
    Ok(DerivedCipher { cipher: Cipher::new(key_type, cipher)?, nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces) })
}

/// The key pair for a context.
pub fn derive_ed25519(prk: &Prk, context: &[u8]) -> Result<Ed25519KeyPair, Rejection> {
    let mut seed = Zeroizing::new([0; SEED_LENGTH]);
    expand(prk, context, seed.as_mut())?;
    ed25519(seed.as_ref())
}

/// What a context is refused for where keys are derived.
pub fn require_context(context: &[u8]) -> Result<(), Rejection> {
    if context.is_empty() {
        return Err(Rejection::mistake(
            "missing 'context' for key derivation; the key was created using a derived key, which means additional, \
             per-request information must be included in order to perform operations with the key",
        ));
    }
    Ok(())
}

fn ed25519(seed: &[u8]) -> Result<Ed25519KeyPair, Rejection> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Rejection::failure("an Ed25519 key cannot be made"))
}

fn expand(prk: &Prk, context: &[u8], out: &mut [u8]) -> Result<(), Rejection> {
    require_context(context)?;
    prk.expand(&[context], Length(out.len()))?.fill(out)?;
    Ok(())
}

/// How much is derived.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

    use super::expand;

    /// RFC 5869, appendix A.3: SHA-256 without a salt. Ours has an info too, which is not of the test case, so the
    /// second line is what any other HKDF gives for it.
    #[test]
    fn derivation_is_hkdf_without_a_salt() {
        let prk = Salt::new(HKDF_SHA256, &[]).extract(&[0x0b; 22]);
        let mut out = [0; 42];
        prk.expand(&[], super::Length(42)).unwrap().fill(&mut out).unwrap();
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(hex(&out), expected);
        // A longer derivation begins with a shorter one: decryption derives the cipher's key only in Vault.
        let (mut short, mut long) = ([0; 32], [0; 64]);
        expand(&prk, b"context", &mut short).unwrap();
        expand(&prk, b"context", &mut long).unwrap();
        assert_eq!(short, long[..32]);
        assert!(expand(&prk, b"", &mut short).is_err());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
