//! The head of a pack.

use minicbor::{Decode, Encode};

use super::PackId;

/// Bytes that the head takes; the first record follows.
pub(crate) const HEAD_LEN: u64 = 1024;

/// Where the second copy of the head begins: in another sector, so that one that cannot be read does not cost a pack.
const SECOND_COPY: usize = 512;

const MAGIC: &[u8; 8] = b"mspack\r\n";

/// The version of the pack's format, heads and records. What reads an older one is added beside it.
const VERSION: u8 = 1;

const CHECK_LEN: usize = 16;

/// What the records of a pack are sealed with. It is random: whoever stores content cannot know it, so that no content
/// can look like a record when a damaged pack is searched for them.
pub(crate) type PackKey = [u8; 32];

/// What a pack begins with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Head {
    #[n(0)]
    pub id: PackId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: PackKey,
    /// All claims before this pack had lower numbers, even those of which no record is left.
    #[n(2)]
    pub next_claim: u64,
    /// The pack before, and where it ends: what lies behind is left of a write that failed.
    #[n(3)]
    pub before: Option<(PackId, u64)>,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = MAGIC.to_vec();
        copy.push(VERSION);
        minicbor::encode(self, &mut copy).expect("a vector takes all that is written");
        let check = check_of(&copy);
        copy.extend_from_slice(&check);
        let mut encoded = vec![0; HEAD_LEN as usize];
        encoded[..copy.len()].copy_from_slice(&copy);
        encoded[SECOND_COPY..SECOND_COPY + copy.len()].copy_from_slice(&copy);
        encoded
    }

    /// Reads whichever copy is whole.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let second = bytes.get(SECOND_COPY..).ok_or("it is shorter than a head")?;
        decode_copy(&bytes[..SECOND_COPY]).or_else(|_| decode_copy(second))
    }
}

fn decode_copy(bytes: &[u8]) -> Result<Head, &'static str> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a pack does")?;
    if rest.first() != Some(&VERSION) {
        return Err("its version is not one that this version of Mainstay reads");
    }
    let mut decoder = minicbor::Decoder::new(&rest[1..]);
    let head = decoder.decode().map_err(|_| "its fields cannot be read")?;
    let checked = MAGIC.len() + 1 + decoder.position();
    let check = bytes.get(checked..checked + CHECK_LEN).ok_or("it ends too early")?;
    if *check != check_of(&bytes[..checked]) {
        return Err("its digest is another");
    }
    Ok(head)
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_LEN]);
    check
}

#[cfg(test)]
mod tests {
    use super::{Head, PackId, SECOND_COPY};

    #[test]
    fn a_head_survives_the_loss_of_either_copy() {
        let head = Head { id: PackId(7), key: [9; 32], next_claim: 1 << 40, before: Some((PackId(6), 1 << 26)) };
        let encoded = head.encode();
        for at in (0..80).chain(SECOND_COPY..SECOND_COPY + 80) {
            let mut damaged = encoded.clone();
            damaged[at] ^= 1;
            assert_eq!(Head::decode(&damaged), Ok(head.clone()), "byte {at}");
        }
        let mut damaged = encoded;
        damaged[3] ^= 1;
        damaged[SECOND_COPY + 20] ^= 1;
        assert!(Head::decode(&damaged).is_err());
        assert!(Head::decode(&[]).is_err());
    }
}
