//! The newest changes, and what a checkpoint writes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use mainstay_dataplane::Address;
use minicbor::{Decode, Encode};

use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::pack::{PackId, Spot};

/// Entries that are other than in the base; `None` where there is no content any more.
pub(crate) type Changes = BTreeMap<Address, Option<Entry>>;

/// A place in the log: everything before it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Position {
    #[n(0)]
    pub pack: PackId,
    #[n(1)]
    pub offset: u64,
}

/// One thing that the log says.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "most are of the largest variant, and none is kept")]
pub(crate) enum Change {
    /// What is known of a content.
    Entry { address: Address, before: Option<Entry>, after: Option<Entry> },
    /// A record says that content is gone.
    Grave(Spot),
    /// A pack's records end here now.
    Extended(PackId, u64),
}

/// What is stored with a base, beside the entries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Checkpoint {
    /// What the base follows from.
    #[n(0)]
    pub at: Position,
    #[n(1)]
    pub next_claim: u64,
    #[n(2)]
    pub ledger: Ledger,
}

/// Changes on their way to the base.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub changes: Changes,
    pub checkpoint: Checkpoint,
}

/// Everything that is known beside the base.
#[derive(Debug)]
pub(crate) struct Memory {
    active: Changes,
    frozen: Option<Arc<Frozen>>,
    now: Checkpoint,
}

impl Change {
    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Self::Entry { address, .. } => Some(*address),
            Self::Grave(_) | Self::Extended(..) => None,
        }
    }
}

impl Memory {
    /// Nothing beside the base.
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
        Self { active: Changes::new(), frozen: None, now: checkpoint }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.now.ledger
    }

    pub(crate) fn at(&self) -> Position {
        self.now.at
    }

    pub(crate) fn next_claim(&self) -> u64 {
        self.now.next_claim
    }

    /// What memory says of a content: nothing, or that it is so, or that it is gone.
    pub(crate) fn find(&self, address: &Address) -> Option<Option<&Entry>> {
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.changes.get(address));
        self.active.get(address).or_else(frozen).map(Option::as_ref)
    }

    pub(crate) fn publish(&mut self, changes: Vec<Change>, at: Position, next_claim: u64) {
        for change in changes {
            match change {
                Change::Entry { address, before, after } => {
                    self.now.ledger.change(before.as_ref(), after.as_ref());
                    self.active.insert(address, after);
                }
                Change::Grave(spot) => self.now.ledger.bury(spot),
                Change::Extended(pack, end) => self.now.ledger.extend(pack, end),
            }
        }
        self.now.at = at;
        self.now.next_claim = next_claim;
    }

    pub(crate) fn forget_pack(&mut self, pack: PackId) {
        self.now.ledger.forget(pack);
    }

    pub(crate) fn behind(&self) -> usize {
        self.active.len() + self.frozen.as_ref().map_or(0, |frozen| frozen.changes.len())
    }

    /// What the next checkpoint writes: what the last one failed with, or all that there is.
    pub(crate) fn freeze(&mut self) -> Arc<Frozen> {
        if let Some(frozen) = &self.frozen {
            return Arc::clone(frozen);
        }
        let changes = std::mem::take(&mut self.active);
        let frozen = Arc::new(Frozen { changes, checkpoint: self.now.clone() });
        self.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// What was frozen is in the base.
    pub(crate) fn thawed(&mut self) {
        self.frozen = None;
    }

    /// The first entries after an address, in the order of addresses, those that are gone too. `base` has as many of its
    /// own as are asked for, or all.
    pub(crate) fn merge(
        &self,
        after: Option<Address>,
        base: Vec<(Address, Entry)>,
        limit: usize,
    ) -> Vec<(Address, Option<Entry>)> {
        // Beyond the last row of a full page of the base there may be others of it, before those in memory.
        let full = base.len() >= limit;
        let last = base.last().map(|(address, _)| *address).filter(|_| full);
        let upper = last.map_or(Bound::Unbounded, Bound::Included);
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut merged: BTreeMap<Address, Option<Entry>> =
            base.into_iter().map(|(address, entry)| (address, Some(entry))).collect();
        for changes in self.frozen.iter().map(|frozen| &frozen.changes).chain([&self.active]) {
            let changed = changes.range((lower, upper)).take(limit);
            merged.extend(changed.map(|(address, entry)| (*address, entry.clone())));
        }
        merged.into_iter().take(limit).collect()
    }
}
