//! Authenticated encryption of one value, bound to the place that it is kept in.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroizing, zeroize_stack};

/// Length of a key in bytes.
pub(crate) const KEY_LENGTH: usize = 32;

/// Key material: in the heap, so that handing it on leaves no copies on the stack, and overwritten when it is dropped.
#[derive(Clone, Default)] // A change of keys needs the old ones until the new ones count.
pub(crate) struct KeyBytes(Box<Zeroizing<[u8; KEY_LENGTH]>>);

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
    getrandom::fill(key.as_mut())?;
    Ok(key)
}

impl KeyBytes {
    /// A copy of a key; none where the length is another.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::default();
        (bytes.len() == KEY_LENGTH).then(|| key.as_mut().copy_from_slice(bytes))?;
        Some(key)
    }

    pub fn as_ref(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    pub fn as_mut(&mut self) -> &mut [u8; KEY_LENGTH] {
        &mut self.0
    }
}

/// Encrypts a value so that it opens only with the same key and the same place.
///
/// The nonce is drawn at random: with 192 bits a repeat is out of reach for ever, also where a machine is cloned
/// or a store is put back to an older state, which is what a counter could not promise.
pub(crate) fn seal(key: &KeyBytes, place: &[u8], value: &[u8]) -> Result<(Mark, Vec<u8>), getrandom::Error> {
    let mut mark: Mark = [0; MARK_LENGTH];
    mark[0] = FORM_XCHACHA20_POLY1305;
    getrandom::fill(&mut mark[1..=NONCE_LENGTH])?;
    let mut ciphertext = value.to_vec();
    encrypt(key, place, &mut mark, &mut ciphertext);
    zeroize_stack::<STACK_BYTES>();
    Ok((mark, ciphertext))
}

/// Decrypts what [`seal`] made; none where the key, the place or a single bit is another.
pub(crate) fn open(key: &KeyBytes, place: &[u8], mark: &Mark, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut value = Zeroizing::new(ciphertext.to_vec());
    let opened = decrypt(key, place, mark, &mut value);
    zeroize_stack::<STACK_BYTES>();
    opened.map(|()| value)
}

/// More than the frames of [`encrypt`] and [`decrypt`] take, where the cipher keeps the key, its state and a block of the
/// plaintext; they are overwritten after each call.
const STACK_BYTES: usize = 4096;

#[inline(never)]
fn encrypt(key: &KeyBytes, place: &[u8], mark: &mut Mark, value: &mut [u8]) {
    let (nonce, tag) = mark[1..].split_first_chunk_mut::<NONCE_LENGTH>().expect("a mark has a nonce");
    let made = XChaCha20Poly1305::new(key.as_ref().into())
        .encrypt_inout_detached(&XNonce::from(*nonce), place, value.into())
        .expect("a value is far shorter than the 256 GiB that the cipher takes");
    tag.copy_from_slice(&made);
}

#[inline(never)]
fn decrypt(key: &KeyBytes, place: &[u8], mark: &Mark, value: &mut [u8]) -> Option<()> {
    let (&form, rest) = mark.split_first()?;
    let (nonce, tag) = rest.split_first_chunk::<NONCE_LENGTH>()?;
    let tag: [u8; TAG_LENGTH] = tag.try_into().ok()?;
    if form != FORM_XCHACHA20_POLY1305 {
        return None;
    }
    let cipher = XChaCha20Poly1305::new(key.as_ref().into());
    cipher.decrypt_inout_detached(&XNonce::from(*nonce), place, value.into(), &Tag::from(tag)).ok()
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
