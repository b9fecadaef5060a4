//! The moments that can be had back, as consumers read them.

use mainstay_control::Reachable;
use mainstay_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The moments that can be had back, read off the repository.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RecoveryWindow {
    #[schema(format = DateTime)]
    pub earliest: Option<String>,
    #[schema(format = DateTime)]
    pub latest: Option<String>,
    /// Spans of time, each of whose moments can be had.
    pub spans: Vec<RecoverySpan>,
    /// Why there is nothing between two of them.
    pub gaps: Vec<String>,
}

/// A span of time, each of whose moments can be had back.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RecoverySpan {
    #[schema(format = DateTime)]
    pub from: String,
    #[schema(format = DateTime)]
    pub until: String,
}

impl RecoveryWindow {
    pub(crate) fn of(reachable: &Reachable) -> Self {
        let span =
            |(from, until): &(Timestamp, Timestamp)| RecoverySpan { from: from.to_string(), until: until.to_string() };
        Self {
            earliest: reachable.earliest().map(|moment| moment.to_string()),
            latest: reachable.latest().map(|moment| moment.to_string()),
            spans: reachable.spans.iter().map(span).collect(),
            gaps: reachable.gaps.clone(),
        }
    }
}
