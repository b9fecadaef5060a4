//! What is derived from the recovery key, and what is sealed with it.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::RecoveryKey;
use crate::chunk::ChunkId;
use crate::cutter::Gear;

/// Contexts of BLAKE3's key derivation, each for one purpose. They are part of the stored format.
const CHUNK_IDS: &str = "mainstay repository 1: chunk ids";
const SEALING: &str = "mainstay repository 1: sealing";
const KEY_CHECK: &str = "mainstay repository 1: key check";
const BOUNDARIES: &str = "mainstay repository 1: chunk boundaries";

/// The form of a sealing: XChaCha20-Poly1305 with a random nonce (docs/decisions/0005).
const FORM: u8 = 1;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// The keys of one repository.
pub(crate) struct Keys {
    chunk_ids: Zeroizing<[u8; 32]>,
    cipher: XChaCha20Poly1305,
    check: [u8; 32],
    gear: Gear,
}

/// Where something sealed belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Chunk(&'a ChunkId),
    /// The table at the end of a pack.
    Table,
    /// An index record of this name.
    Record(&'a str),
    /// `<kind>/<name>`.
    Document(&'a str),
}

impl Keys {
    /// Each repository has keys of its own, though several may have one recovery key.
    pub(crate) fn derive(key: &RecoveryKey, id: Uuid) -> Self {
        let mut material = Zeroizing::new([0; 48]);
        material[..32].copy_from_slice(key.as_bytes());
        material[32..].copy_from_slice(id.as_bytes());
        let derived = |context| Zeroizing::new(blake3::derive_key(context, &*material));
        let sealing = derived(SEALING);
        let seed = derived(BOUNDARIES);
        let mut seed = u64::from_le_bytes(*seed.first_chunk().expect("32 bytes begin with 8"));
        let gear = Gear::new(seed);
        seed.zeroize();
        Self {
            chunk_ids: derived(CHUNK_IDS),
            cipher: XChaCha20Poly1305::new((&*sealing).into()),
            check: *derived(KEY_CHECK),
            gear,
        }
    }

    /// Tells whether a recovery key is the repository's, and nothing of it.
    pub(crate) fn check(&self) -> &[u8; 32] {
        &self.check
    }

    /// Where content is cut. It depends on the key, so that the lengths of chunks do not tell known content.
    pub(crate) fn gear(&self) -> &Gear {
        &self.gear
    }

    pub(crate) fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk_ids, plain).as_bytes())
    }

    /// Appends to `out` what `write` appends to it, sealed.
    pub(crate) fn seal(&self, place: Place<'_>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the system gives random bytes");
        out.push(FORM);
        out.extend_from_slice(&nonce);
        let start = out.len();
        write(out);
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &place.bytes(), (&mut out[start..]).into())
            .expect("what is sealed is far shorter than the 256 GiB that the cipher takes");
        out.extend_from_slice(&tag);
    }

    /// Opens what was sealed, where it lies; nothing where the key, the place or a bit is another.
    pub(crate) fn open<'s>(&self, place: Place<'_>, sealed: &'s mut [u8]) -> Option<&'s mut [u8]> {
        let (&mut form, rest) = sealed.split_first_mut()?;
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        let (plain, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        if form != FORM {
            return None;
        }
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher.decrypt_inout_detached(&nonce, &place.bytes(), (&mut *plain).into(), &tag).ok()?;
        Some(plain)
    }
}

impl Place<'_> {
    fn bytes(self) -> Vec<u8> {
        let (kind, name): (u8, &[u8]) = match self {
            Self::Chunk(id) => (1, &id.0),
            Self::Table => (2, &[]),
            Self::Record(name) => (3, name.as_bytes()),
            Self::Document(name) => (4, name.as_bytes()),
        };
        [&[kind], name].concat()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Keys, Place};
    use crate::RecoveryKey;

    #[test]
    fn what_is_sealed_opens_only_whole_and_in_its_place() {
        let key = RecoveryKey::draw().unwrap();
        let keys = Keys::derive(&key, Uuid::nil());
        let mut sealed = Vec::new();
        keys.seal(Place::Record("here"), &mut sealed, |out| out.extend_from_slice(b"value"));
        assert_eq!(keys.open(Place::Record("here"), &mut sealed.clone()).unwrap(), b"value");
        assert!(keys.open(Place::Record("there"), &mut sealed.clone()).is_none());
        assert!(keys.open(Place::Document("here"), &mut sealed.clone()).is_none());
        let other = Keys::derive(&key, Uuid::from_u128(1));
        assert!(other.open(Place::Record("here"), &mut sealed.clone()).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 4;
            assert!(keys.open(Place::Record("here"), &mut damaged).is_none(), "byte {at}");
            assert!(keys.open(Place::Record("here"), &mut sealed.clone()[..at]).is_none(), "cut at {at}");
        }
    }
}
