//! Content in blocks: compressed, encrypted, or both.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use bytes::Bytes;
use mainstay_dataplane::{Compression, ContentKey};

use crate::form::{Form, Seal};
use crate::{Damage, Digests, GROUP_LEN, Header, Table};

/// The level of zstd: its own default, which on two cores compresses backups faster than disks take them.
const ZSTD_LEVEL: i32 = 3;

/// Makes stored bytes of content that comes piece by piece.
pub struct Encoder {
    form: Form,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    key: Option<LessSafeKey>,
    /// The newest group, which is a block as soon as it is known whether it is the last.
    pending: Vec<u8>,
    /// What a group is compressed into.
    scratch: Vec<u8>,
    table: Table,
}

/// Makes blocks content again.
pub(crate) struct Opener {
    key: Option<LessSafeKey>,
}

/// Makes stored bytes of content that is all here.
pub fn encode(mut encoder: Encoder, digests: &Digests, content: Bytes) -> (Header, Bytes) {
    let form = encoder.form.clone();
    let mut stored = encoder.update(content);
    let (last, table) = encoder.finish();
    if !form.is_plain() {
        stored = [stored, last].concat().into();
    }
    (Header::new(digests, form, table), stored)
}

// === impl Encoder ===

impl Encoder {
    /// Compresses as it is told, and encrypts with a key where there is one.
    pub fn new(compression: Compression, key: Option<&ContentKey>) -> Self {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd => Some(zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("zstd knows its default level")),
        };
        let seal = key.map(|key| Seal::new(key.id));
        let key = seal.as_ref().zip(key).map(|(seal, key)| seal.key(key));
        let form = Form { compression, seal };
        Self { form, compressor, key, pending: Vec::new(), scratch: Vec::new(), table: Table::default() }
    }

    /// What it makes of content.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Takes more content, and gives what can be stored: in plain form what it was given, otherwise all blocks but the one
    /// which may be the last.
    pub fn update(&mut self, plain: Bytes) -> Bytes {
        if self.form.is_plain() {
            return plain;
        }
        let mut stored = Vec::with_capacity(plain.len() + GROUP_LEN);
        let mut rest = &plain[..];
        while !rest.is_empty() {
            if self.pending.len() == GROUP_LEN {
                self.block(false, &mut stored);
            }
            let room = GROUP_LEN - self.pending.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.pending.extend_from_slice(now);
            rest = later;
        }
        stored.into()
    }

    /// Gives what is still to be stored, and where all blocks lie.
    pub fn finish(mut self) -> (Bytes, Table) {
        let mut stored = Vec::new();
        if !self.pending.is_empty() {
            self.block(true, &mut stored);
        }
        (stored.into(), self.table)
    }

    fn block(&mut self, last: bool, stored: &mut Vec<u8>) {
        let start = stored.len();
        let compressed = self.compress();
        stored.extend_from_slice(if compressed { &self.scratch } else { &self.pending });
        if let Some(key) = &self.key {
            let number = self.table.blocks();
            let tag = key
                .seal_in_place_separate_tag(nonce(number), aad(number, last, compressed), &mut stored[start..])
                .expect("a block is shorter than what AES-GCM takes");
            stored.extend_from_slice(tag.as_ref());
        }
        self.table.push(stored.len() - start, compressed);
        self.pending.clear();
    }

    /// Compresses the pending group, and says whether that made it smaller.
    fn compress(&mut self) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        // There is room for one byte less than the group has: where zstd needs more, the group is kept as it is.
        self.scratch.resize(self.pending.len() - 1, 0);
        match compressor.compress_to_buffer(&self.pending, &mut self.scratch[..]) {
            Ok(len) => {
                self.scratch.truncate(len);
                true
            }
            Err(_) => false,
        }
    }
}

// === impl Opener ===

impl Opener {
    pub(crate) fn new(form: &Form, key: Option<&ContentKey>) -> Self {
        Self { key: form.seal.as_ref().zip(key).map(|(seal, key)| seal.key(key)) }
    }

    /// Makes a block the group that it was, at the beginning of `group`, and answers the group's length.
    pub(crate) fn open(
        &self,
        number: u64,
        last: bool,
        compressed: bool,
        block: &mut [u8],
        group: &mut [u8],
    ) -> Result<usize, Damage> {
        let plain = match &self.key {
            Some(key) => key
                .open_in_place(nonce(number), aad(number, last, compressed), block)
                .map_err(|_| Damage::Sealed(number))?,
            None => block,
        };
        if compressed {
            return zstd::bulk::decompress_to_buffer(plain, group).map_err(|_| Damage::Compressed(number));
        }
        group.get_mut(..plain.len()).ok_or(Damage::Sealed(number))?.copy_from_slice(plain);
        Ok(plain.len())
    }
}

/// The number of a block, as what AES-GCM must never see twice with one key.
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// What a block is, beside its bytes: none can stand in another's place, nor can the last ones be cut off.
fn aad(number: u64, last: bool, compressed: bool) -> Aad<[u8; 10]> {
    let mut aad = [0; 10];
    aad[..8].copy_from_slice(&number.to_be_bytes());
    aad[8] = last.into();
    aad[9] = compressed.into();
    Aad::from(aad)
}
