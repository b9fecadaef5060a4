//! Evidence is to be signed with another key.

use super::{Context, Decision, Rejection};
use crate::event::{EvidenceKeyIntroduced, Subject, SubjectKind};
use crate::view::View;

/// Records that evidence of what happens from now on is signed with this key. Of those that introduce the same number at once, the
/// first does.
#[derive(Debug, Clone, PartialEq)]
pub struct IntroduceEvidenceKey {
    /// One more than that of the key before.
    pub number: u32,
    pub public_key: [u8; 32],
}

impl IntroduceEvidenceKey {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if self.number != view.next_evidence_key() {
            return Ok(Decision::nothing());
        }
        let layer = Subject::new(SubjectKind::Layer, &"evidence-key");
        let introduced = EvidenceKeyIntroduced { number: self.number, public_key: self.public_key };
        Ok(Decision::of(vec![context.event(None, layer, introduced)]))
    }
}
