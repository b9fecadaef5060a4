//! Authenticated encryption of one value, bound to the place that it is kept in.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Length of a key in bytes.
pub(crate) const KEY_LENGTH: usize = 32;

/// Key material; overwritten when it is dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_LENGTH]>;

const FORM_XCHACHA20_POLY1305: u8 = 1;
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;

/// Length of a [`Mark`] in bytes.
pub(crate) const MARK_LENGTH: usize = 1 + NONCE_LENGTH + TAG_LENGTH;

/// What stands apart from a ciphertext: the form of the sealing (1 byte), the nonce (24) and the authentication tag
/// (16). No two sealings have the same, so that it also tells one from another.
pub(crate) type Mark = [u8; MARK_LENGTH];

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
pub(crate) fn seal(key: &KeyBytes, place: &[u8], value: &[u8]) -> Result<(Mark, Vec<u8>), getrandom::Error> {
    let mut mark: Mark = [0; MARK_LENGTH];
    mark[0] = FORM_XCHACHA20_POLY1305;
    let mut nonce = [0; NONCE_LENGTH];
    getrandom::fill(&mut nonce)?;
    let mut ciphertext = value.to_vec();
    let tag = XChaCha20Poly1305::new((&**key).into())
        .encrypt_inout_detached(&XNonce::from(nonce), place, ciphertext.as_mut_slice().into())
        .expect("a value is far shorter than the 256 GiB that the cipher takes");
    mark[1..=NONCE_LENGTH].copy_from_slice(&nonce);
    mark[1 + NONCE_LENGTH..].copy_from_slice(&tag);
    Ok((mark, ciphertext))
}

/// Decrypts what [`seal`] made; none where the key, the place or a single bit is another.
pub(crate) fn open(key: &KeyBytes, place: &[u8], mark: &Mark, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&form, rest) = mark.split_first()?;
    let (nonce, tag) = rest.split_first_chunk::<NONCE_LENGTH>()?;
    let tag: [u8; TAG_LENGTH] = tag.try_into().ok()?;
    if form != FORM_XCHACHA20_POLY1305 {
        return None;
    }
    let mut value = Zeroizing::new(ciphertext.to_vec());
    XChaCha20Poly1305::new((&**key).into())
        .decrypt_inout_detached(&XNonce::from(*nonce), place, value.as_mut_slice().into(), &Tag::from(tag))
        .ok()?;
    Some(value)
}

/// [`seal`] in one piece: the mark, then the ciphertext.
pub(crate) fn seal_whole(key: &KeyBytes, place: &[u8], value: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let (mark, ciphertext) = seal(key, place, value)?;
    Ok([&mark[..], &ciphertext].concat())
}

/// [`open`] for what is in one piece.
pub(crate) fn open_whole(key: &KeyBytes, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (mark, ciphertext) = sealed.split_first_chunk::<MARK_LENGTH>()?;
    open(key, place, mark, ciphertext)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{draw_key, open_whole, seal, seal_whole};

    #[test]
    fn a_value_opens_only_with_its_key_in_its_place_and_whole() {
        let key = draw_key().unwrap();
        let sealed = seal_whole(&key, b"here", b"value").unwrap();
        assert_eq!(open_whole(&key, b"here", &sealed).unwrap().as_slice(), b"value");
        assert!(open_whole(&draw_key().unwrap(), b"here", &sealed).is_none());
        assert!(open_whole(&key, b"there", &sealed).is_none());
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert!(open_whole(&key, b"here", &damaged).is_none(), "byte {place}");
            assert!(open_whole(&key, b"here", &sealed[..place]).is_none(), "cut at {place}");
        }
    }

    #[test]
    fn no_two_sealings_have_the_same_nonce() {
        let key = draw_key().unwrap();
        let nonces: HashSet<_> = (0..20_000).map(|_| seal(&key, b"", b"").unwrap().0[1..25].to_vec()).collect();
        assert_eq!(nonces.len(), 20_000);
    }
}
