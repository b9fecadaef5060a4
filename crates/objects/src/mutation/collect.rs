//! Content that nothing refers to is forgotten, or was never known.

use mainstay_dataplane::{Address, Claim};
use mainstay_types::Timestamp;

use super::Mutation;
use crate::stage::{Need, Stage, Stop};

/// Forgets contents that have been unused since before a moment. Answers their claims, which are given up afterwards: a
/// crash in between leaves content that the index does not know, and the search for such content finds it.
pub(crate) struct Collect {
    pub candidates: Vec<Address>,
    pub unused_before: Timestamp,
}

/// Answers which of some claims are on contents that the index does not know. It changes nothing, and is asked in turn
/// with the changes that could refer to them.
pub(crate) struct FindUnknown(pub Vec<(Address, Claim)>);

impl Mutation for Collect {
    type Answer = Vec<(Address, Claim)>;

    fn needs(&self, _: &Stage) -> Vec<Need> {
        self.candidates.iter().map(|address| Need::Content(*address)).collect()
    }

    fn decide(&self, stage: &mut Stage) -> Result<Self::Answer, Stop> {
        let mut unused = Vec::new();
        for address in &self.candidates {
            let row = stage.content(*address)?;
            let due = |since: Timestamp| since < self.unused_before;
            if let Some(row) = row
                && row.refs == 0
                && row.unused_since.is_some_and(due)
            {
                unused.push((*address, row.claim));
            }
        }
        unused.iter().for_each(|(address, claim)| stage.collect(*address, *claim));
        Ok(unused)
    }
}

impl Mutation for FindUnknown {
    type Answer = Vec<(Address, Claim)>;

    fn needs(&self, _: &Stage) -> Vec<Need> {
        self.0.iter().map(|(address, _)| Need::Content(*address)).collect()
    }

    fn decide(&self, stage: &mut Stage) -> Result<Self::Answer, Stop> {
        let mut unknown = Vec::new();
        for (address, claim) in &self.0 {
            if stage.content(*address)?.is_none() {
                unknown.push((*address, *claim));
            }
        }
        Ok(unknown)
    }
}
