//! Somebody keeps the recovery key in a safe place.

use super::{Context, Decision, Rejection};
use crate::event::{RecoveryKeyAcknowledged, Subject, SubjectKind};
use crate::view::View;

/// Records that the recovery key is kept outside of the layer, so that nobody is reminded any more.
#[derive(Debug, Clone, PartialEq)]
pub struct AcknowledgeRecoveryKey {}

impl AcknowledgeRecoveryKey {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if view.recovery_key_acknowledged_at().is_some() {
            return Ok(Decision::nothing());
        }
        let layer = Subject::new(SubjectKind::Layer, &"recovery-key");
        Ok(Decision::of(vec![context.event(None, layer, RecoveryKeyAcknowledged {})]))
    }
}
