//! Records: what happened to one content.
//!
//! ```text
//! prefix (40 bytes) | note: CBOR | body: the content's header and stored bytes, if it lies here | up to 7 zero bytes
//! ```
//!
//! The prefix says how long the rest is and carries two checks: one sealed with the pack's key over everything before
//! the body and the record's own place, and a plain one over the body.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use mainstay_dataplane::{Address, KeyId};
use minicbor::{Decode, Encode};

use super::{PackId, PackKey};
use crate::entry::{FileRef, Held};

/// Where records may begin: at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// The longest note: an address, a file and the claims of all owners are well below.
const MAX_NOTE_LEN: usize = 4096;

const MAGIC: u32 = u32::from_le_bytes(*b"msr1");

const CHECK_LEN: usize = 16;

/// What is known of a record without reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub note_len: u32,
    pub body_len: u32,
    /// Where the records begin that were written and synchronised together with this one: all before were durable.
    pub batch: u32,
    /// Over the body.
    pub body_check: u64,
    check: [u8; CHECK_LEN],
}

/// What a record tells of a content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Note {
    #[n(0)]
    pub address: Address,
    /// All claims on it from now on. Without any, the content is gone.
    #[n(1)]
    pub claims: Vec<Held>,
    /// Where the content itself comes with the record.
    #[n(2)]
    pub subject: Option<Subject>,
}

/// Content that begins to lie somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Subject {
    /// Of the content, in bytes.
    #[n(0)]
    pub size: u64,
    #[n(1)]
    pub key: Option<KeyId>,
    /// The file that it lies in; the record's body, where there is none.
    #[n(2)]
    pub file: Option<FileRef>,
}

impl Note {
    pub(crate) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes all that is written")
    }
}

impl Prefix {
    pub(crate) const LEN: usize = 4 + 4 + 4 + 4 + 8 + CHECK_LEN;

    /// Reads a prefix that may be anything.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if word(0) != MAGIC {
            return None;
        }
        let (_, rest) = bytes.split_at(16);
        let (body_check, check) = rest.split_first_chunk::<8>()?;
        let prefix = Self {
            note_len: word(4),
            body_len: word(8),
            batch: word(12),
            body_check: u64::from_le_bytes(*body_check),
            check: *check.first_chunk()?,
        };
        (prefix.note_len as usize <= MAX_NOTE_LEN).then_some(prefix)
    }

    /// Of the prefix and the note.
    pub(crate) fn frame_len(&self) -> usize {
        Self::LEN + self.note_len as usize
    }

    /// Of the whole record.
    pub(crate) fn record_len(&self) -> u64 {
        padded(self.frame_len() as u64 + u64::from(self.body_len))
    }

    fn write(&self, encoded: &mut [u8]) {
        for (at, word) in [MAGIC, self.note_len, self.body_len, self.batch].into_iter().enumerate() {
            encoded[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        encoded[16..24].copy_from_slice(&self.body_check.to_le_bytes());
        encoded[24..Self::LEN].copy_from_slice(&self.check);
    }
}

/// How long a record will be.
pub(crate) fn record_len(note: &[u8], body_len: usize) -> u64 {
    padded((Prefix::LEN + note.len() + body_len) as u64)
}

/// The prefix and the encoded note of a record which will lie at some place, and the zero bytes behind the body.
pub(crate) fn encode(
    note: &[u8],
    (body_len, body_check): (u32, u64),
    (pack, key): (PackId, &PackKey),
    offset: u32,
    batch: u32,
) -> (Vec<u8>, &'static [u8]) {
    let mut encoded = vec![0; Prefix::LEN];
    encoded.extend_from_slice(note);
    let mut prefix = Prefix { note_len: note.len() as u32, body_len, batch, body_check, check: [0; CHECK_LEN] };
    prefix.write(&mut encoded);
    prefix.check = seal(&encoded, pack, key, offset);
    prefix.write(&mut encoded);
    let len = encoded.len() as u64 + u64::from(body_len);
    (encoded, &[0; ALIGNMENT][..(padded(len) - len) as usize])
}

/// Reads the prefix and the note of the record that lies at some place; none where there is no such record.
pub(crate) fn parse(frame: &[u8], pack: PackId, key: &PackKey, offset: u32) -> Option<(Prefix, Note)> {
    let prefix = Prefix::read(frame)?;
    let frame = frame.get(..prefix.frame_len())?;
    if prefix.check != seal(frame, pack, key, offset) {
        return None;
    }
    Some((prefix, minicbor::decode(&frame[Prefix::LEN..]).ok()?))
}

/// The check over a body, which finds damage; content is known by its address.
pub(crate) fn body_check(parts: &[Bytes]) -> u64 {
    let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize()
}

/// The check over a prefix, its own field taken as zero, and the note.
fn seal(frame: &[u8], pack: PackId, key: &PackKey, offset: u32) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&pack.0.to_le_bytes()).update(&offset.to_le_bytes());
    hasher.update(&frame[..Prefix::LEN - CHECK_LEN]).update(&frame[Prefix::LEN..]);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}

fn padded(len: u64) -> u64 {
    len.next_multiple_of(ALIGNMENT as u64)
}
