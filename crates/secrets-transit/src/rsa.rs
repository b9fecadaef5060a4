//! RSA: signatures with PSS and PKCS #1 v1.5, encryption with OAEP.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicKey,
};
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaParameters, RsaPssSaltLength, RsaSignatureEncoding,
    VerificationAlgorithm,
};
use zeroize::Zeroizing;

use crate::hashing::Hash;
use crate::rejection::Rejection;
use crate::signing::{Padding, Salt};

/// One more than the longest salt of PSS: with RSA-4096 and SHA-256, 512 - 2 - 32 bytes.
const SALTS: usize = 479;

/// The salts that are tried where the caller does not know which one a signature has: the longest, as Vault and Go sign;
/// the hash's length, as everybody else does; none; and the lengths of the other hashes. The library cannot find it out
/// by itself, and to try all would make a bad signature expensive.
const LIKELY_SALTS: [u16; 5] = [0, 20, 32, 48, 64];

/// The library takes its settings for signing by `'static` reference, so there is one for each salt.
macro_rules! encodings {
    ($encoding:ident) => {{
        let mut table = [const { None }; SALTS];
        let mut salt = 0;
        while salt < SALTS {
            table[salt] = Some($encoding.with_pss_salt_length(RsaPssSaltLength::Custom(salt as u16)));
            salt += 1;
        }
        table
    }};
}

static PSS_SHA256: [Option<RsaSignatureEncoding>; SALTS] = encodings!(RSA_PSS_SHA256);
static PSS_SHA384: [Option<RsaSignatureEncoding>; SALTS] = encodings!(RSA_PSS_SHA384);
static PSS_SHA512: [Option<RsaSignatureEncoding>; SALTS] = encodings!(RSA_PSS_SHA512);

/// A key pair, ready for everything that is done with one.
pub struct RsaPair {
    signing: RsaKeyPair,
    decrypting: OaepPrivateDecryptingKey,
    encrypting: OaepPublicEncryptingKey,
}

/// How an input that is hashed already is signed.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    pub padding: Padding,
    pub hash: Option<Hash>,
    pub salt: Salt,
}

impl RsaPair {
    pub fn open(pkcs8: &[u8]) -> Option<Self> {
        let signing = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?;
        let encrypting = OaepPublicEncryptingKey::new(private.public_key()).ok()?;
        Some(Self { signing, decrypting: OaepPrivateDecryptingKey::new(private).ok()?, encrypting })
    }

    pub fn public_key(&self) -> &PublicKey {
        self.signing.public_key()
    }

    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Rejection> {
        if plaintext.len() > self.encrypting.max_plaintext_size(&OAEP_SHA256_MGF1SHA256) {
            return Err(Rejection::failure(
                "failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size",
            ));
        }
        let mut ciphertext = vec![0; self.encrypting.ciphertext_size()];
        let length = self.encrypting.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None)?.len();
        ciphertext.truncate(length);
        Ok(ciphertext)
    }

    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Rejection> {
        let refused = |_| Rejection::failure("failed to RSA decrypt the ciphertext: crypto/rsa: decryption error");
        let mut plaintext = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let decrypted = self.decrypting.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, None);
        let length = decrypted.map_err(refused)?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    pub fn sign(&self, hash: &[u8], scheme: Scheme) -> Result<Vec<u8>, Rejection> {
        let algorithm = supported(scheme.hash)?;
        let digest = imported(hash, algorithm)?;
        let encoding: &'static dyn RsaEncoding = match scheme.padding {
            Padding::Pkcs1 => match algorithm {
                Hash::Sha384 => &RSA_PKCS1_SHA384,
                Hash::Sha512 => &RSA_PKCS1_SHA512,
                _ => &RSA_PKCS1_SHA256,
            },
            Padding::Pss => {
                let salt = match self.salt(scheme.salt, algorithm)? {
                    Some(salt) => salt,
                    None => self.longest_salt(algorithm),
                };
                let table = match algorithm {
                    Hash::Sha384 => &PSS_SHA384,
                    Hash::Sha512 => &PSS_SHA512,
                    _ => &PSS_SHA256,
                };
                table[usize::from(salt)].as_ref().expect("the table is full")
            }
        };
        let mut signature = vec![0; self.signing.public_modulus_len()];
        self.signing.sign_digest(encoding, &digest, &mut signature)?;
        Ok(signature)
    }

    pub fn verify(&self, hash: &[u8], signature: &[u8], scheme: Scheme) -> Result<bool, Rejection> {
        let algorithm = supported(scheme.hash)?;
        let Ok(digest) = imported(hash, algorithm) else { return Ok(false) };
        let fits = |parameters: RsaParameters| {
            parameters.verify_digest_sig(self.public_key().as_ref(), &digest, signature).is_ok()
        };
        if scheme.padding == Padding::Pkcs1 {
            return Ok(fits(match algorithm {
                Hash::Sha384 => RSA_PKCS1_2048_8192_SHA384,
                Hash::Sha512 => RSA_PKCS1_2048_8192_SHA512,
                _ => RSA_PKCS1_2048_8192_SHA256,
            }));
        }
        let with_salt = |salt| {
            let parameters = match algorithm {
                Hash::Sha384 => RSA_PSS_2048_8192_SHA384,
                Hash::Sha512 => RSA_PSS_2048_8192_SHA512,
                _ => RSA_PSS_2048_8192_SHA256,
            };
            fits(parameters.with_pss_salt_length(RsaPssSaltLength::Custom(salt)))
        };
        Ok(match self.salt(scheme.salt, algorithm)? {
            Some(salt) => with_salt(salt),
            None => with_salt(self.longest_salt(algorithm)) || LIKELY_SALTS.into_iter().any(with_salt),
        })
    }

    /// The length of the salt that the caller wants; none where it is left open.
    fn salt(&self, salt: Salt, algorithm: Hash) -> Result<Option<u16>, Rejection> {
        match salt {
            Salt::Auto => Ok(None),
            Salt::Hash => Ok(Some(algorithm.algorithm().output_len() as u16)),
            Salt::Length(length) if length <= self.longest_salt(algorithm) => Ok(Some(length)),
            Salt::Length(length) => Err(Rejection::mistake(format!("requested salt length {length} is invalid"))),
        }
    }

    fn longest_salt(&self, algorithm: Hash) -> u16 {
        let longest = self.signing.public_modulus_len() - 2 - algorithm.algorithm().output_len();
        longest.min(SALTS - 1) as u16
    }
}

/// The library signs with RSA and these hashes only.
fn supported(hash: Option<Hash>) -> Result<Hash, Rejection> {
    hash.filter(|hash| matches!(hash, Hash::Sha256 | Hash::Sha384 | Hash::Sha512))
        .ok_or_else(|| Rejection::mistake("unsupported hash algorithm for RSA; use sha2-256, sha2-384 or sha2-512"))
}

fn imported(hash: &[u8], algorithm: Hash) -> Result<Digest, Rejection> {
    let imported = Digest::import_less_safe(hash, algorithm.algorithm());
    imported.map_err(|_| Rejection::mistake("crypto/rsa: input must be hashed message"))
}
