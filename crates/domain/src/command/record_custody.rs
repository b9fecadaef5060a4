//! Something happened to secret custody.

use super::{Context, Decision, Rejection};
use crate::event::{
    Body, CustodyInitialized, CustodyKeyRotated, CustodyRekeyed, CustodyRestored, CustodySealed, CustodyUnsealed,
    CustodyWitnessed, Subject, SubjectKind,
};
use crate::view::View;

/// Records what happened to custody, and how far its store had come.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordCustody {
    pub change: CustodyChange,
    pub position: u64,
}

/// What can happen to custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustodyChange {
    Initialized,
    Unsealed,
    Sealed,
    KeyRotated,
    Rekeyed,
    Restored,
    /// Nothing but that it has come further.
    Witnessed,
}

impl RecordCustody {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let position = self.position;
        let body: Body = match self.change {
            CustodyChange::Initialized => CustodyInitialized { position }.into(),
            CustodyChange::Unsealed => CustodyUnsealed { position }.into(),
            CustodyChange::Sealed => CustodySealed { position }.into(),
            CustodyChange::KeyRotated => CustodyKeyRotated { position }.into(),
            CustodyChange::Rekeyed => CustodyRekeyed { position }.into(),
            CustodyChange::Restored => CustodyRestored { position }.into(),
            CustodyChange::Witnessed if position <= view.custody_position() => return Ok(Decision::default()),
            CustodyChange::Witnessed => CustodyWitnessed { position }.into(),
        };
        let subject = Subject::new(SubjectKind::Custody, &"custody");
        Ok(Decision::of(vec![context.event(None, subject, body)]))
    }
}
