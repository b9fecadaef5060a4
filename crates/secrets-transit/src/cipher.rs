//! Authenticated encryption with associated data, in Vault's layout: nonce, ciphertext, tag.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

use crate::key_type::KeyType;
use crate::rejection::Rejection;

const TAG_LENGTH: usize = 16;

/// A key that is ready to encrypt.
pub enum Cipher {
    Short(LessSafeKey),
    /// With a nonce of 192 bits, which aws-lc has not.
    Extended(Box<XChaCha20Poly1305>),
}

/// Where nonces come from.
pub enum NonceSource<'a> {
    Random,
    /// From the plaintext, so that the same text gives the same ciphertext.
    Convergent(&'a hmac::Key),
}

impl Cipher {
    pub fn new(key_type: KeyType, key: &[u8]) -> Result<Self, Rejection> {
        let algorithm = match key_type {
            KeyType::Aes128Gcm96 => &AES_128_GCM,
            KeyType::Aes256Gcm96 => &AES_256_GCM,
            KeyType::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => {
                let cipher = XChaCha20Poly1305::new_from_slice(key);
                let cipher = cipher.map_err(|_| Rejection::failure("could not derive enc key, length not correct"))?;
                return Ok(Self::Extended(Box::new(cipher)));
            }
        };
        Ok(Self::Short(LessSafeKey::new(UnboundKey::new(algorithm, key)?)))
    }

    /// How much room [`Self::seal`] wants before the plaintext.
    pub fn nonce_length(&self) -> usize {
        match self {
            Self::Short(_) => aws_lc_rs::aead::NONCE_LEN,
            Self::Extended(_) => 24,
        }
    }

    /// How much longer than the plaintext the ciphertext is.
    pub fn overhead(&self) -> usize {
        self.nonce_length() + TAG_LENGTH
    }

    /// Encrypts what follows the room for the nonce, in its place.
    pub fn seal(&self, buffer: &mut Vec<u8>, source: &NonceSource<'_>, aad: &[u8]) -> Result<(), Rejection> {
        let (nonce, text) = buffer.split_at_mut(self.nonce_length());
        match source {
            NonceSource::Random => rand::fill(nonce)?,
            NonceSource::Convergent(key) => nonce.copy_from_slice(&hmac::sign(key, text).as_ref()[..nonce.len()]),
        }
        match self {
            Self::Short(key) => {
                let nonce = Nonce::try_assume_unique_for_key(nonce)?;
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text)?;
                buffer.extend_from_slice(tag.as_ref());
            }
            Self::Extended(cipher) => {
                let nonce = XNonce::try_from(&*nonce).expect("the room for it is as long as the nonce");
                let tag = cipher.encrypt_inout_detached(&nonce, aad, text.into());
                let tag = tag.map_err(|_| Rejection::failure("the plaintext is too long to encrypt"))?;
                buffer.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Decrypts in place.
    pub fn open<'a>(&self, buffer: &'a mut [u8], aad: &[u8]) -> Result<&'a [u8], Rejection> {
        let refused = || Rejection::mistake("cipher: message authentication failed");
        if buffer.len() < self.nonce_length() {
            return Err(Rejection::mistake("invalid ciphertext length"));
        }
        let (nonce, sealed) = buffer.split_at_mut(self.nonce_length());
        match self {
            Self::Short(key) => {
                let nonce = Nonce::try_assume_unique_for_key(nonce)?;
                key.open_in_place(nonce, Aad::from(aad), sealed).map(|text| &*text).map_err(|_| refused())
            }
            Self::Extended(cipher) => {
                let nonce = XNonce::try_from(&*nonce).expect("the room for it is as long as the nonce");
                let length = sealed.len().checked_sub(TAG_LENGTH).ok_or_else(refused)?;
                let (text, tag) = sealed.split_at_mut(length);
                let tag = Tag::try_from(&*tag).expect("the rest is as long as a tag");
                cipher.decrypt_inout_detached(&nonce, aad, (&mut *text).into(), &tag).map_err(|_| refused())?;
                Ok(text)
            }
        }
    }
}
