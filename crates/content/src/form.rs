//! How content is kept at rest.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use mainstay_dataplane::{Compression, ContentKey, KeyId};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// What the key of each content is derived for. It names the format, so that a later one never shares a key with it.
const KEY_CONTEXT: &str = "mainstay 2026-11-21 content blocks, AES-256-GCM, version 1";

/// What was done with content before it was stored. As it came, or in blocks of a group each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Form {
    #[n(0)]
    pub compression: Compression,
    #[n(1)]
    pub seal: Option<Seal>,
}

/// How content is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Seal {
    #[n(0)]
    pub key: KeyId,
    /// Random, and drawn anew for each time that content is encrypted: with it the key is used once, and the number of a
    /// block may be its nonce.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub salt: [u8; 32],
}

impl Form {
    /// Bytes as they came.
    pub const PLAIN: Self = Self { compression: Compression::None, seal: None };

    pub fn is_plain(&self) -> bool {
        *self == Self::PLAIN
    }
}

impl Seal {
    pub(crate) fn new(key: KeyId) -> Self {
        let mut salt = [0; 32];
        aws_lc_rs::rand::fill(&mut salt).expect("the system gives random bytes");
        Self { key, salt }
    }

    pub(crate) fn key(&self, key: &ContentKey) -> LessSafeKey {
        let mut derived = Zeroizing::new([0; 32]);
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(key.secret()).update(&self.salt);
        hasher.finalize_xof().fill(derived.as_mut());
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("a key of AES-256 has 32 bytes");
        LessSafeKey::new(key)
    }
}
