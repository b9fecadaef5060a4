//! What is written of a content: its size, who claims it, where it lies.

use mainstay_content::Damage;
use mainstay_dataplane::{Address, Claim, Deletion, KeyId, Owner, Sha256, Stored};
use mainstay_types::{Digest, Timestamp};
use minicbor::{Decode, Encode};

use crate::keys::DataId;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// Bytes of the digest at the end, which finds damage.
const CHECK_LEN: usize = 16;

/// Bytes of every record, without the content that lies in it: more than any takes, so that it is read in one request and
/// without that content.
pub(crate) const RECORD_LEN: usize = 512;

/// All owners that there are.
const OWNERS: [Owner; 3] = [Owner::Objects, Owner::Artifacts, Owner::Backups];

/// The record of a content. Encoded it is a version, CBOR, zeros, and at the end of its fixed length the beginning of the
/// BLAKE3 digest of all that; content that lies in it follows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) address: Address,
    #[n(1)]
    pub(crate) size: u64,
    #[n(2)]
    pub(crate) sha256: Sha256,
    #[n(3)]
    pub(crate) key: Option<KeyId>,
    #[n(4)]
    pub(crate) place: Place,
    /// By owner, one each.
    #[n(5)]
    claims: Vec<Held>,
}

/// Where content lies at rest, and how many bytes it takes there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Place {
    /// Behind the record: its header and its stored bytes.
    #[n(0)]
    Within {
        #[n(0)]
        len: u32,
    },
    /// In objects of its own.
    #[n(1)]
    Apart {
        #[n(0)]
        data: DataId,
        #[n(1)]
        header_len: u32,
        #[n(2)]
        stored_len: u64,
        /// Of each segment but the last.
        #[n(3)]
        segment_len: u32,
    },
}

/// An owner's newest claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Held {
    #[n(0)]
    owner: Owner,
    #[n(1)]
    claim: Claim,
    #[n(2)]
    at: Timestamp,
}

/// What becomes of a record when an owner gives up a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// Nothing.
    Unchanged(Deletion),
    /// Others claim the content still.
    Kept(Record),
    Gone,
}

impl Record {
    /// Of content that nobody claims yet.
    pub(crate) fn new(address: Address, size: u64, sha256: Sha256, key: Option<KeyId>, place: Place) -> Self {
        Self { address, size, sha256, key, place, claims: Vec::new() }
    }

    /// Reads the record of a content at the beginning of some bytes.
    pub(crate) fn decode(address: &Address, bytes: &[u8]) -> Result<Self, Damage> {
        let encoded = bytes.get(..RECORD_LEN).ok_or(Damage::Header("its record is cut off"))?;
        let (checked, check) = encoded.split_at(RECORD_LEN - CHECK_LEN);
        if check != &check_of(checked)[..] {
            return Err(Damage::Header("its record's digest is another"));
        }
        if checked[0] != VERSION {
            return Err(Damage::Version(checked[0]));
        }
        let record: Self = minicbor::decode(&checked[1..]).map_err(|_| Damage::Header("its record cannot be read"))?;
        if record.address != *address {
            return Err(Damage::Header("its record is that of other content"));
        }
        Ok(record)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(RECORD_LEN);
        encoded.push(VERSION);
        minicbor::encode(self, &mut encoded).expect("a vector takes all that is written");
        assert!(encoded.len() <= RECORD_LEN - CHECK_LEN, "a record of one claim for each owner is shorter");
        encoded.resize(RECORD_LEN - CHECK_LEN, 0);
        let check = check_of(&encoded);
        encoded.extend_from_slice(&check);
        encoded
    }

    pub(crate) fn claim_of(&self, owner: Owner) -> Option<Claim> {
        self.held(owner).map(|held| held.claim)
    }

    /// The newest claim of anybody.
    pub(crate) fn newest_claim(&self) -> Option<Claim> {
        self.claims.iter().map(|held| held.claim).max()
    }

    pub(crate) fn claim(&mut self, owner: Owner, claim: Claim, at: Timestamp) {
        self.claims.retain(|held| held.owner != owner);
        self.claims.push(Held { owner, claim, at });
        self.claims.sort_by_key(|held| held.owner);
    }

    /// Claims for everybody: where it cannot be read any more who claimed the content, it may have been anybody. Who did
    /// not gives it up when it next looks through its inventory.
    pub(crate) fn claim_for_all(&mut self, claim: Claim, at: Timestamp) {
        for owner in OWNERS {
            self.claim(owner, claim, at);
        }
    }

    /// The same claims on content that lies elsewhere.
    pub(crate) fn with_claims_of(mut self, other: &Self) -> Self {
        self.claims.clone_from(&other.claims);
        self
    }

    pub(crate) fn give_up(mut self, owner: Owner, claim: Claim) -> GivenUp {
        match self.claim_of(owner) {
            None => GivenUp::Unchanged(Deletion::Absent),
            Some(newest) if newest > claim => GivenUp::Unchanged(Deletion::Superseded),
            Some(_) => {
                self.claims.retain(|held| held.owner != owner);
                if self.claims.is_empty() { GivenUp::Gone } else { GivenUp::Kept(self) }
            }
        }
    }

    /// As the inventory of an owner lists it.
    pub(crate) fn stored(&self, owner: Owner) -> Option<Stored> {
        let held = self.held(owner)?;
        Some(Stored { address: self.address, size: self.size, claim: held.claim, claimed_at: held.at })
    }

    fn held(&self, owner: Owner) -> Option<&Held> {
        self.claims.iter().find(|held| held.owner == owner)
    }
}

impl Place {
    /// Bytes in the store, besides the record.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Within { len } => u64::from(*len),
            Self::Apart { header_len, stored_len, .. } => u64::from(*header_len) + stored_len,
        }
    }

    pub(crate) fn data(&self) -> Option<DataId> {
        match self {
            Self::Within { .. } => None,
            Self::Apart { data, .. } => Some(*data),
        }
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&Digest::of(bytes).as_bytes()[..CHECK_LEN]);
    check
}

#[cfg(test)]
mod tests {
    use mainstay_content::Damage;
    use mainstay_dataplane::{Address, Claim, Deletion, KeyId, Owner, Sha256};
    use mainstay_types::Timestamp;

    use super::{GivenUp, Place, RECORD_LEN, Record};
    use crate::keys::DataId;

    /// A record as version 1 wrote it.
    const SAMPLE_1: &[u8] = include_bytes!("../samples/record-1.cbor");

    fn sample() -> Record {
        let data = DataId::of_intent("intents/000102030405060708090a0b0c0d0e0f").unwrap();
        let place = Place::Apart { data, header_len: 3_000, stored_len: 10_000_000, segment_len: 4_194_304 };
        let mut record = Record::new(Address::of(b"content"), 12_000_000, Sha256([7; 32]), Some(KeyId(9)), place);
        record.claim(Owner::Backups, Claim(5), Timestamp::from_micros(1_795_262_400_000_000));
        record.claim(Owner::Objects, Claim(1_795_262_400_000_001), Timestamp::from_micros(1_795_262_400_000_001));
        record
    }

    #[test]
    fn a_record_of_version_1_is_read() {
        assert_eq!(Record::decode(&Address::of(b"content"), SAMPLE_1), Ok(sample()));
        assert_eq!(sample().encode(), SAMPLE_1);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let encoded = sample().encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&Address::of(b"content"), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..encoded.len() {
            assert!(Record::decode(&Address::of(b"content"), &encoded[..len]).is_err(), "{len} bytes");
        }
        assert!(matches!(Record::decode(&Address::of(b"other"), &encoded), Err(Damage::Header(_))));
        let mut newer = encoded;
        newer[0] = 2;
        let check = super::check_of(&newer[..RECORD_LEN - super::CHECK_LEN]);
        newer[RECORD_LEN - super::CHECK_LEN..].copy_from_slice(&check);
        assert_eq!(Record::decode(&Address::of(b"content"), &newer), Err(Damage::Version(2)));
    }

    #[test]
    fn the_longest_record_fits() {
        let place =
            Place::Apart { data: DataId::draw(), header_len: u32::MAX, stored_len: u64::MAX, segment_len: u32::MAX };
        let mut record = Record::new(Address::of(b""), u64::MAX, Sha256([255; 32]), Some(KeyId(u32::MAX)), place);
        record.claim_for_all(Claim(u64::MAX), Timestamp::from_micros(i64::MAX));
        assert_eq!(record.encode().len(), RECORD_LEN);
    }

    #[test]
    fn a_claim_is_given_up_by_who_knows_the_newest() {
        let record = sample();
        let give_up = |owner, claim| record.clone().give_up(owner, Claim(claim));
        assert_eq!(give_up(Owner::Artifacts, u64::MAX), GivenUp::Unchanged(Deletion::Absent));
        assert_eq!(give_up(Owner::Backups, 4), GivenUp::Unchanged(Deletion::Superseded));
        let GivenUp::Kept(kept) = give_up(Owner::Backups, 5) else { panic!("objects claim it still") };
        assert_eq!((kept.claim_of(Owner::Backups), kept.stored(Owner::Backups)), (None, None));
        assert_eq!(kept.give_up(Owner::Objects, Claim(u64::MAX)), GivenUp::Gone);
    }
}
