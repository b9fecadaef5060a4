//! Authenticated encryption of one value, bound to the place that it is kept in.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Length of a key in bytes.
pub(crate) const KEY_LENGTH: usize = 32;

/// Key material; overwritten when it is dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_LENGTH]>;

/// The form of a sealed value: this byte, 24 bytes of nonce, the ciphertext with its tag of 16 bytes.
const FORM_XCHACHA20_POLY1305: u8 = 1;

const NONCE_LENGTH: usize = 24;

/// Draws a new key from the operating system.
pub(crate) fn draw_key() -> Result<KeyBytes, getrandom::Error> {
    let mut key = KeyBytes::default();
    getrandom::fill(&mut *key)?;
    Ok(key)
}

/// Encrypts a value so that it opens only with the same key and the same place.
///
/// The nonce is drawn at random: with 192 bits a repeat is out of reach for ever, also where a machine is cloned
/// or a store is put back to an older state, which is what a counter could not promise.
pub(crate) fn seal(key: &KeyBytes, place: &[u8], value: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let mut nonce = [0; NONCE_LENGTH];
    getrandom::fill(&mut nonce)?;
    let ciphertext = XChaCha20Poly1305::new((&**key).into())
        .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: place })
        .expect("a value is far shorter than the 256 GiB that the cipher takes");
    Ok([&[FORM_XCHACHA20_POLY1305][..], &nonce, &ciphertext].concat())
}

/// Decrypts what [`seal`] made; none where the key, the place or a single bit is another.
pub(crate) fn open(key: &KeyBytes, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&form, rest) = sealed.split_first()?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>()?;
    if form != FORM_XCHACHA20_POLY1305 {
        return None;
    }
    XChaCha20Poly1305::new((&**key).into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: place })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::{draw_key, open, seal};

    #[test]
    fn a_value_opens_only_with_its_key_in_its_place_and_whole() {
        let key = draw_key().unwrap();
        let sealed = seal(&key, b"here", b"value").unwrap();
        assert_eq!(open(&key, b"here", &sealed).unwrap().as_slice(), b"value");
        assert!(open(&draw_key().unwrap(), b"here", &sealed).is_none());
        assert!(open(&key, b"there", &sealed).is_none());
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert!(open(&key, b"here", &damaged).is_none(), "byte {place}");
            assert!(open(&key, b"here", &sealed[..place]).is_none(), "cut at {place}");
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let key = draw_key().unwrap();
        assert_ne!(seal(&key, b"", b"value").unwrap(), seal(&key, b"", b"value").unwrap());
    }
}
