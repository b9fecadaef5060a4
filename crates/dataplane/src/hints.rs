//! What an ingest says beside the bytes.

use minicbor::{Decode, Decoder, Encode, Encoder};
use zeroize::Zeroizing;

use crate::{Md5, Owner, Sha256};

/// How content is to be kept, and what is known of it beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hints {
    /// Who claims it.
    #[n(0)]
    pub owner: Owner,
    /// What must be true of the stream; where it is not, nothing is kept.
    #[n(1)]
    pub expect: Expect,
    /// Whether the receipt is to tell the MD5 digest too. It costs more than all else.
    #[n(2)]
    pub md5: bool,
    #[n(3)]
    pub compression: Compression,
    /// Encrypts it at rest. Content that is kept in plain already is encrypted then; what is encrypted stays so.
    #[n(4)]
    pub key: Option<ContentKey>,
    #[n(5)]
    #[cbor(default)]
    pub cut: Cut,
}

/// What the caller knows of a stream before it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Expect {
    /// Bytes.
    #[n(0)]
    pub size: Option<u64>,
    #[n(1)]
    pub sha256: Option<Sha256>,
    /// It is computed for this, whether or not the receipt is to tell it.
    #[n(2)]
    pub md5: Option<Md5>,
}

/// How content is compressed at rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum Compression {
    #[default]
    #[n(0)]
    None,
    /// Zstandard (RFC 8878). Blocks that do not get smaller are kept as they are.
    #[n(1)]
    Zstd,
}

/// How content is cut where it is kept in chunks, each of them once and each compressed by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum Cut {
    /// Where it itself says so, in short chunks: most of it is in other content too, as in the backup of the day before.
    #[default]
    #[n(0)]
    Fine,
    /// In chunks as long as can be, which compress best: nothing of it comes again, as in a log.
    #[n(1)]
    Coarse,
}

/// Tells a key from every other that its owner has used, and tells nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct KeyId(#[n(0)] pub u32);

/// A key that content is encrypted with at rest. The data plane forgets it with the call that brought it: who keeps
/// content keeps its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey {
    pub id: KeyId,
    secret: Zeroizing<[u8; 32]>,
}

// === impl Hints ===

impl Hints {
    /// Content as it is: neither compressed nor encrypted, with nothing known beforehand.
    pub fn plain(owner: Owner) -> Self {
        Self { owner, expect: Expect::default(), md5: false, compression: Compression::None, key: None, cut: Cut::Fine }
    }
}

// === impl ContentKey ===

impl ContentKey {
    /// The key of some id; ids of other keys must differ.
    pub fn new(id: KeyId, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { id, secret }
    }

    /// The 256 bits themselves, for deriving from.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContentKey({}, ..)", self.id.0)
    }
}

impl<C> Encode<C> for ContentKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.array(2)?.encode_with(self.id, context)?.bytes(self.secret.as_slice())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for ContentKey {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        if decoder.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a content key has an id and 32 bytes"));
        }
        let id = decoder.decode_with(context)?;
        let mut secret = Zeroizing::new([0; 32]);
        let bytes = decoder.bytes()?;
        if bytes.len() != secret.len() {
            return Err(minicbor::decode::Error::message("a content key has 32 bytes"));
        }
        secret.copy_from_slice(bytes);
        Ok(Self { id, secret })
    }
}
