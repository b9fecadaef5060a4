//! The layer was brought back from its repository.

use mainstay_types::Timestamp;

use super::{Context, Decision, Rejection};
use crate::event::{LayerRecovered, Subject, SubjectKind};
use crate::view::View;

/// Records that everything was brought back, so that it is known which backups are of a past that was left.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRecovery {
    /// The moment that was gone back to; none where it was the newest that there was.
    pub until: Option<Timestamp>,
}

impl RecordRecovery {
    pub(super) fn decide(&self, _: &View, context: &Context) -> Result<Decision, Rejection> {
        let layer = Subject::new(SubjectKind::Layer, &"recovery");
        Ok(Decision::of(vec![context.event(None, layer, LayerRecovered { until: self.until })]))
    }
}
