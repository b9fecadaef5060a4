//! How much of each pack is still needed. Pure.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::entry::Entry;
use crate::pack::{HEAD_LEN, PackId, Spot};

/// What there is, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Ledger {
    #[n(0)]
    packs: BTreeMap<PackId, Usage>,
    /// Contents that are kept.
    #[n(1)]
    pub contents: u64,
    /// What they take at rest.
    #[n(2)]
    pub stored_bytes: u64,
}

/// What a pack's bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Usage {
    /// Where its records end.
    #[n(0)]
    pub end: u64,
    /// Records that contents need.
    #[n(1)]
    pub live: u64,
    /// Records which say that a content is gone, in case that an older pack says that it is there.
    #[n(2)]
    pub graves: u64,
}

impl Usage {
    /// Bytes that nobody needs.
    pub(crate) fn dead(&self) -> u64 {
        (self.end - HEAD_LEN.min(self.end)).saturating_sub(self.live + self.graves)
    }
}

impl Ledger {
    /// A pack has records up to here.
    pub(crate) fn extend(&mut self, pack: PackId, end: u64) {
        self.packs.entry(pack).or_default().end = end;
    }

    /// A record says that content is gone.
    pub(crate) fn bury(&mut self, grave: Spot) {
        self.packs.entry(grave.pack).or_default().graves += u64::from(grave.len);
    }

    /// What is known of a content is another than before.
    pub(crate) fn change(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        if let Some(entry) = before {
            self.contents -= 1;
            self.stored_bytes = self.stored_bytes.saturating_sub(entry.stored_len());
            for spot in entry.spots() {
                let live = &mut self.packs.entry(spot.pack).or_default().live;
                *live = live.saturating_sub(spot.len.into());
            }
        }
        if let Some(entry) = after {
            self.contents += 1;
            self.stored_bytes += entry.stored_len();
            for spot in entry.spots() {
                self.packs.entry(spot.pack).or_default().live += u64::from(spot.len);
            }
        }
    }

    /// A pack is gone.
    pub(crate) fn forget(&mut self, pack: PackId) {
        self.packs.remove(&pack);
    }

    pub(crate) fn usage(&self, pack: PackId) -> Usage {
        self.packs.get(&pack).copied().unwrap_or_default()
    }

    pub(crate) fn packs(&self) -> impl DoubleEndedIterator<Item = (PackId, Usage)> + '_ {
        self.packs.iter().map(|(id, usage)| (*id, *usage))
    }

    /// Bytes of all packs.
    pub(crate) fn pack_bytes(&self) -> u64 {
        self.packs.values().map(|usage| usage.end).sum()
    }

    /// Whether graves in a pack are needed no more: no older pack has anything left of content that is gone.
    pub(crate) fn may_drop_graves(&self, pack: PackId) -> bool {
        self.packs.range(..pack).all(|(_, usage)| usage.dead() == 0)
    }

    /// The next pack to tidy, so that nothing dead is left in those before `limit`: wholly dead packs come first, for they
    /// need no room; then the oldest, for only then the graves behind it may go. Where there is no room, that which needs
    /// least of it.
    pub(crate) fn next_to_reclaim(&self, limit: PackId, not: &[PackId], no_room: bool) -> Option<PackId> {
        let able = || self.packs.range(..limit).filter(|(id, _)| !not.contains(id));
        // One without a single record is as dead as can be, though it has no dead bytes.
        let wholly = able().find(|(_, usage)| usage.live == 0 && usage.graves == 0);
        let least = || able().filter(|(_, usage)| usage.dead() > 0).min_by_key(|(_, usage)| usage.live);
        let untidy = || able().find(|(id, usage)| usage.dead() > 0 || usage.graves > 0 && self.may_drop_graves(**id));
        wholly.or_else(|| if no_room { least() } else { untidy() }).map(|(id, _)| *id)
    }

    /// A pack before `limit` that is worth tidying by itself: most of it is dead.
    pub(crate) fn next_to_tidy(&self, limit: PackId, not: &[PackId]) -> Option<PackId> {
        let able = self.packs.range(..limit).filter(|(id, _)| !not.contains(id));
        able.filter(|(_, usage)| usage.dead() > usage.end.saturating_sub(HEAD_LEN) / 2)
            .max_by_key(|(_, usage)| usage.dead())
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::entry::Entry;
    use crate::pack::{HEAD_LEN, PackId, Spot};

    fn spot(pack: u32, offset: u32, len: u32) -> Spot {
        Spot { pack: PackId(pack), offset, len }
    }

    fn entry(place: Spot) -> Entry {
        Entry { size: 1, key: None, claims: vec![], place, claimed: None, file: None }
    }

    #[test]
    fn a_pack_with_nothing_in_it_goes_but_the_newest() {
        let mut ledger = Ledger::default();
        ledger.extend(PackId(1), HEAD_LEN);
        ledger.extend(PackId(2), HEAD_LEN);
        assert_eq!(ledger.next_to_reclaim(PackId(2), &[], false), Some(PackId(1)));
        ledger.forget(PackId(1));
        assert_eq!(ledger.next_to_reclaim(PackId(2), &[], false), None);
    }

    #[test]
    fn graves_stay_until_nothing_older_is_dead() {
        let mut ledger = Ledger::default();
        let (a, b) = (entry(spot(1, 1024, 400)), entry(spot(1, 1424, 400)));
        ledger.change(None, Some(&a));
        ledger.change(None, Some(&b));
        ledger.extend(PackId(1), HEAD_LEN + 800);
        ledger.change(Some(&a), None);
        ledger.bury(spot(2, 1024, 80));
        ledger.extend(PackId(2), HEAD_LEN + 80);
        ledger.extend(PackId(3), HEAD_LEN);
        assert_eq!((ledger.contents, ledger.stored_bytes), (1, 400));
        assert_eq!(ledger.usage(PackId(1)).dead(), 400);
        assert!(!ledger.may_drop_graves(PackId(2)));
        assert_eq!(ledger.next_to_tidy(PackId(3), &[]), None);
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[], false), Some(PackId(1)));
        // The live record moves to the newest pack; the old one goes.
        ledger.change(Some(&b), Some(&entry(spot(3, 1024, 400))));
        ledger.extend(PackId(3), HEAD_LEN + 400);
        assert_eq!(ledger.next_to_tidy(PackId(3), &[]), Some(PackId(1)));
        ledger.forget(PackId(1));
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[], false), Some(PackId(2)));
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[PackId(2)], false), None);
        ledger.forget(PackId(2));
        assert_eq!(ledger.next_to_reclaim(PackId(4), &[], false), None);
    }
}
