//! Content that nothing refers to is forgotten.

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
