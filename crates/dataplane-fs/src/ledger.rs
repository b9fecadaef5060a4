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

/// What is left of the disk, which says how much copying its room is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// What would cost more to copy than it frees stays.
    Enough,
    /// Content is refused for want of room: every byte counts.
    Short,
    /// Nothing can be written for sure.
    None,
}

/// The share of a pack, as a divisor, from which on it is tidied where that is asked for: at a quarter three bytes are
/// copied for each that is freed. With less, a store with a few deletions everywhere would be copied as a whole each time.
const TIDIED_FROM: u64 = 4;

/// The share of all packs, as a divisor, that graves may take before what keeps them is tidied.
const GRAVES_UP_TO: u64 = 8;

impl Room {
    fn is_worth(self, waste: u64, pack: &Usage) -> bool {
        let least = if self == Self::Enough { pack.records() / TIDIED_FROM } else { 0 };
        waste > 0 && waste >= least
    }
}

impl Usage {
    /// Bytes of all its records.
    fn records(&self) -> u64 {
        self.end.saturating_sub(HEAD_LEN)
    }

    /// Bytes that nobody needs.
    pub(crate) fn dead(&self) -> u64 {
        self.records().saturating_sub(self.live + self.graves)
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
        self.oldest_untidy().is_none_or(|oldest| pack <= oldest)
    }

    /// The next pack before `limit` to tidy where room is to be given back: wholly dead packs come first, for they need no
    /// room; then the oldest that is worth it, for only then the graves behind it may go. Where nothing can be written for
    /// sure, that which needs least room.
    pub(crate) fn next_to_reclaim(&self, limit: PackId, not: &[PackId], room: Room) -> Option<PackId> {
        let able = || self.packs.range(..limit).filter(|(id, _)| !not.contains(id));
        // One without a single record is as dead as can be, though it has no dead bytes.
        let wholly = able().find(|(_, usage)| usage.live == 0 && usage.graves == 0);
        let oldest = self.oldest_untidy();
        let waste = |id: &PackId, usage: &Usage| {
            usage.dead() + if oldest.is_none_or(|oldest| *id <= oldest) { usage.graves } else { 0 }
        };
        let worth = || able().find(|(id, usage)| room.is_worth(waste(id, usage), usage));
        // What keeps too many graves is tidied however little is dead in it: packs that are not worth tidying would let
        // graves add up without end.
        let keeps_graves = || able().find(|(id, _)| oldest == Some(**id) && self.has_too_many_graves());
        let least = || able().filter(|(_, usage)| usage.dead() > 0).min_by_key(|(_, usage)| usage.live);
        let next = wholly.or_else(|| if room == Room::None { least() } else { worth().or_else(keeps_graves) });
        next.map(|(id, _)| *id)
    }

    /// Whether the newest pack has enough in it that is not needed, or will not be once older packs are tidied, so that
    /// another is to be begun.
    pub(crate) fn newest_is_untidy(&self, room: Room) -> bool {
        let newest = self.packs.values().next_back();
        newest.is_some_and(|usage| room.is_worth(usage.dead() + usage.graves, usage))
    }

    /// The oldest pack with anything dead in it.
    fn oldest_untidy(&self) -> Option<PackId> {
        self.packs.iter().find(|(_, usage)| usage.dead() > 0).map(|(id, _)| *id)
    }

    fn has_too_many_graves(&self) -> bool {
        let graves: u64 = self.packs.values().map(|usage| usage.graves).sum();
        graves > self.packs.values().map(Usage::records).sum::<u64>() / GRAVES_UP_TO
    }

    /// A pack before `limit` that is worth tidying by itself: most of it is dead.
    pub(crate) fn next_to_tidy(&self, limit: PackId, not: &[PackId]) -> Option<PackId> {
        let able = self.packs.range(..limit).filter(|(id, _)| !not.contains(id));
        able.filter(|(_, usage)| usage.dead() > usage.records() / 2)
            .max_by_key(|(_, usage)| usage.dead())
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Room};
    use crate::entry::Entry;
    use crate::pack::{HEAD_LEN, PackId, Spot};

    fn spot(pack: u32, offset: u32, len: u32) -> Spot {
        Spot { pack: PackId(pack), offset, len }
    }

    /// Three packs, of which the first has 1000 bytes and so many of them dead, and the second so many in graves.
    fn packs(dead: u32, graves: u32) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.change(None, Some(&entry(spot(1, 1024, 1000 - dead))));
        ledger.extend(PackId(1), HEAD_LEN + 1000);
        ledger.change(None, Some(&entry(spot(2, 1024, 1000 - graves))));
        if graves > 0 {
            ledger.bury(spot(2, 2000, graves));
        }
        ledger.extend(PackId(2), HEAD_LEN + 1000);
        ledger.extend(PackId(3), HEAD_LEN);
        ledger
    }

    fn entry(place: Spot) -> Entry {
        Entry { size: 1, key: None, claims: vec![], place, claimed: None, file: None }
    }

    #[test]
    fn a_pack_with_nothing_in_it_goes_but_the_newest() {
        let mut ledger = Ledger::default();
        ledger.extend(PackId(1), HEAD_LEN);
        ledger.extend(PackId(2), HEAD_LEN);
        assert_eq!(ledger.next_to_reclaim(PackId(2), &[], Room::Enough), Some(PackId(1)));
        ledger.forget(PackId(1));
        assert_eq!(ledger.next_to_reclaim(PackId(2), &[], Room::Enough), None);
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
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[], Room::Enough), Some(PackId(1)));
        // The live record moves to the newest pack; the old one goes.
        ledger.change(Some(&b), Some(&entry(spot(3, 1024, 400))));
        ledger.extend(PackId(3), HEAD_LEN + 400);
        assert_eq!(ledger.next_to_tidy(PackId(3), &[]), Some(PackId(1)));
        ledger.forget(PackId(1));
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[], Room::Enough), Some(PackId(2)));
        assert_eq!(ledger.next_to_reclaim(PackId(3), &[PackId(2)], Room::Enough), None);
        ledger.forget(PackId(2));
        assert_eq!(ledger.next_to_reclaim(PackId(4), &[], Room::Enough), None);
    }

    #[test]
    fn a_pack_is_tidied_when_that_is_worth_its_copying() {
        for (dead, graves, enough, short) in [
            (0, 0, None, None),
            (1, 0, None, Some(1)),
            (249, 0, None, Some(1)),
            (250, 0, Some(1), Some(1)),
            (900, 0, Some(1), Some(1)),
            // Nothing dead lies before these graves, so that they are waste.
            (0, 249, None, Some(2)),
            (0, 251, Some(2), Some(2)),
            // These are kept by a single dead byte, until they are too many.
            (1, 249, None, Some(1)),
            (1, 251, Some(1), Some(1)),
        ] {
            let ledger = packs(dead, graves);
            let next = |room| ledger.next_to_reclaim(PackId(3), &[], room).map(|PackId(id)| id);
            assert_eq!((next(Room::Enough), next(Room::Short)), (enough, short), "{dead} dead and {graves} in graves");
            assert_eq!(next(Room::None), (dead > 0).then_some(1), "{dead} dead and {graves} in graves");
        }
        // What keeps graves cannot be tidied: nothing behind it is copied in vain.
        assert_eq!(packs(1, 251).next_to_reclaim(PackId(3), &[PackId(1)], Room::Enough), None);
    }

    #[test]
    fn the_newest_pack_is_left_when_enough_in_it_is_waste() {
        for (dead, room, left) in
            [(0, Room::Short, false), (1, Room::Short, true), (249, Room::Enough, false), (250, Room::Enough, true)]
        {
            let mut ledger = Ledger::default();
            ledger.change(None, Some(&entry(spot(1, 1024, 1000 - dead))));
            ledger.extend(PackId(1), HEAD_LEN + 1000);
            assert_eq!(ledger.newest_is_untidy(room), left, "{dead} dead, {room:?}");
        }
    }
}
