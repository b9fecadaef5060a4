//! What evidence is signed with, and how many drills there were.

use mainstay_types::{Sequence, Timestamp};
use minicbor::{Decode, Encode};

use super::View;
use crate::event::{Event, EvidenceKeyIntroduced};

/// A key that evidence is signed with; its private half is in custody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EvidenceKey {
    #[n(0)]
    pub number: u32,
    /// Of Ed25519.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// Of the event that introduced it.
    #[n(2)]
    pub sequence: Sequence,
    #[n(3)]
    pub introduced_at: Timestamp,
}

/// How many drills ended how, since there is a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct DrillCounts {
    #[n(0)]
    pub passed: u64,
    #[n(1)]
    pub failed: u64,
}

impl EvidenceKey {
    pub(super) fn of(event: &Event, body: &EvidenceKeyIntroduced) -> Self {
        Self { number: body.number, public_key: body.public_key, sequence: event.sequence, introduced_at: event.time }
    }
}

impl View {
    /// The keys that evidence is signed with, in the order in which they came into use.
    pub fn evidence_keys(&self) -> impl DoubleEndedIterator<Item = &EvidenceKey> {
        self.evidence_keys.iter()
    }

    /// The key that evidence of an event is signed with: the newest that there was, or the first where there was none yet. It is
    /// the same whenever that is asked. None where there is no key at all.
    pub fn evidence_key_of(&self, sequence: Sequence) -> Option<&EvidenceKey> {
        let earlier = self.evidence_keys.iter().rev().find(|key| key.sequence < sequence);
        earlier.or_else(|| self.evidence_keys.front())
    }

    /// The number of the next key.
    pub fn next_evidence_key(&self) -> u32 {
        self.evidence_keys.last().map_or(1, |key| key.number.saturating_add(1))
    }

    /// How many drills ended how.
    pub fn drill_counts(&self) -> DrillCounts {
        self.drill_counts
    }
}
