//! What is known of a content, and what happens to it. Pure.

use mainstay_dataplane::{Address, Claim, Deletion, KeyId, Owner, Stored};
use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::pack::Spot;

/// A content that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Entry {
    /// Of the content, in bytes.
    #[n(0)]
    pub size: u64,
    /// What it is encrypted with.
    #[n(1)]
    pub key: Option<KeyId>,
    /// At least one, and one for each owner.
    #[n(2)]
    pub claims: Vec<Held>,
    /// The record that the content came with.
    #[n(3)]
    pub place: Spot,
    /// The record with its newest claims, where that is another one.
    #[n(4)]
    pub claimed: Option<Spot>,
    /// The file that it lies in; its record, where there is none.
    #[n(5)]
    pub file: Option<FileRef>,
}

/// An owner's newest claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Held {
    #[n(0)]
    pub owner: Owner,
    #[n(1)]
    pub claim: Claim,
    #[n(2)]
    pub at: Timestamp,
}

/// A file of the store: content has at most one, and no two had the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) struct FileRef {
    #[n(0)]
    pub number: u64,
    /// Of the file, in bytes.
    #[n(1)]
    pub len: u64,
}

/// What an ingest comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The content is to be stored as it was brought.
    Stored,
    /// It is there already, as it was asked for; only the claim is new.
    Claimed,
}

impl Entry {
    /// What keeping content that may be known comes to. What is plain is stored anew when it is to be encrypted, and what
    /// was found damaged in any case; but nothing that is encrypted becomes plain.
    pub(crate) fn keeping(current: Option<&Self>, key: Option<KeyId>, damaged: bool) -> Keeping {
        match (current.map(|entry| entry.key), key) {
            (Some(Some(_)), None) => Keeping::Claimed,
            (Some(Some(_)), Some(_)) | (Some(None), None) if !damaged => Keeping::Claimed,
            _ => Keeping::Stored,
        }
    }

    /// Its claims when an owner has claimed it anew.
    pub(crate) fn claimed(current: Option<&Self>, held: Held) -> Vec<Held> {
        let others = current.into_iter().flat_map(|entry| &entry.claims).filter(|other| other.owner != held.owner);
        let mut claims: Vec<Held> = others.copied().collect();
        claims.push(held);
        claims
    }

    /// Its claims when an owner has given up its own, and what becomes of that.
    pub(crate) fn released(current: Option<&Self>, owner: Owner, claim: Claim) -> (Deletion, Vec<Held>) {
        let claims = current.map(|entry| entry.claims.as_slice()).unwrap_or_default();
        match claims.iter().find(|held| held.owner == owner) {
            None => (Deletion::Absent, Vec::new()),
            Some(held) if held.claim > claim => (Deletion::Superseded, Vec::new()),
            Some(_) => {
                let others = claims.iter().filter(|held| held.owner != owner);
                (Deletion::Deleted, others.copied().collect())
            }
        }
    }

    /// As an owner's inventory lists it, where the owner claims it.
    pub(crate) fn stored(&self, address: Address, owner: Owner) -> Option<Stored> {
        let held = self.claims.iter().find(|held| held.owner == owner)?;
        Some(Stored { address, size: self.size, claim: held.claim, claimed_at: held.at })
    }

    /// Bytes that the content takes at rest.
    pub(crate) fn stored_len(&self) -> u64 {
        u64::from(self.place.len) + self.file.map_or(0, |file| file.len)
    }

    /// The records that are needed because of it.
    pub(crate) fn spots(&self) -> impl Iterator<Item = Spot> {
        [Some(self.place), self.claimed].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Held, Keeping};
    use crate::pack::{PackId, Spot};
    use mainstay_dataplane::{Claim, Deletion, KeyId, Owner};
    use mainstay_types::Timestamp;

    fn held(owner: Owner, claim: u64) -> Held {
        Held { owner, claim: Claim(claim), at: Timestamp::EPOCH }
    }

    fn entry(key: Option<u32>, claims: &[Held]) -> Entry {
        let place = Spot { pack: PackId(1), offset: 1024, len: 400 };
        Entry { size: 300, key: key.map(KeyId), claims: claims.to_vec(), place, claimed: None, file: None }
    }

    #[test]
    fn content_is_stored_once_but_for_encryption_and_damage() {
        let (plain, sealed) = (entry(None, &[]), entry(Some(1), &[]));
        let keeping =
            |current: Option<&Entry>, key: Option<u32>, damaged| Entry::keeping(current, key.map(KeyId), damaged);
        assert_eq!(keeping(None, None, false), Keeping::Stored);
        assert_eq!(keeping(Some(&plain), None, false), Keeping::Claimed);
        assert_eq!(keeping(Some(&plain), Some(2), false), Keeping::Stored);
        assert_eq!(keeping(Some(&sealed), None, false), Keeping::Claimed);
        assert_eq!(keeping(Some(&sealed), Some(2), false), Keeping::Claimed);
        assert_eq!(keeping(Some(&plain), None, true), Keeping::Stored);
        assert_eq!(keeping(Some(&sealed), Some(2), true), Keeping::Stored);
        assert_eq!(keeping(Some(&sealed), None, true), Keeping::Claimed);
    }

    #[test]
    fn an_owner_holds_its_newest_claim_and_gives_up_nobody_elses() {
        let both = entry(None, &[held(Owner::Objects, 3), held(Owner::Backups, 4)]);
        assert_eq!(Entry::claimed(None, held(Owner::Objects, 1)), [held(Owner::Objects, 1)]);
        assert_eq!(
            Entry::claimed(Some(&both), held(Owner::Objects, 9)),
            [held(Owner::Backups, 4), held(Owner::Objects, 9)]
        );
        let released = |owner, claim| Entry::released(Some(&both), owner, Claim(claim));
        assert_eq!(released(Owner::Objects, 3), (Deletion::Deleted, vec![held(Owner::Backups, 4)]));
        assert_eq!(released(Owner::Objects, 2), (Deletion::Superseded, vec![]));
        assert_eq!(released(Owner::Artifacts, 9), (Deletion::Absent, vec![]));
        assert_eq!(Entry::released(None, Owner::Objects, Claim(9)), (Deletion::Absent, vec![]));
    }
}
