//! Somebody was given the recovery key.

use super::{Context, Decision, Rejection};
use crate::event::{RecoveryKeyShown, Subject, SubjectKind};
use crate::view::View;

/// Records that the recovery key was given to the actor, so that it is known who can read every backup.
#[derive(Debug, Clone, PartialEq)]
pub struct ShowRecoveryKey {
    /// Into how many shares it was split; none where it was given whole.
    pub shares: Option<u8>,
}

impl ShowRecoveryKey {
    pub(super) fn decide(&self, _: &View, context: &Context) -> Result<Decision, Rejection> {
        let layer = Subject::new(SubjectKind::Layer, &"recovery-key");
        Ok(Decision::of(vec![context.event(None, layer, RecoveryKeyShown { shares: self.shares })]))
    }
}
