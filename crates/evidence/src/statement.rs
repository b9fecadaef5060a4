//! What is said: an in-toto statement whose predicate is a drill.
//!
//! These types are a stored form. Fields are only ever added, as ones that may be missing: evidence of long ago has the same bytes
//! for ever, and so no field is ever written that was not written then.

use serde::{Deserialize, Serialize};

/// What the predicate is. The number goes up with whatever an older reader would misread.
pub const PREDICATE_TYPE: &str = "urn:mainstay:evidence:drill:v1";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement: of these subjects this is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    pub subject: Vec<Subject>,
    predicate_type: String,
    pub predicate: DrillShown,
}

/// A thing that the statement is about, told by its digest: the drill's event in the journal first, then the parts of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub name: String,
    pub digest: Digests,
}

/// Digests in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a drill has shown. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillShown {
    /// `passed` or `failed`.
    pub result: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub instance: InstanceShown,
    /// What was restored; none where there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<RecoveryPointShown>,
    pub checks: Vec<CheckShown>,
    pub assertions: Vec<AssertionShown>,
    pub measured: Measured,
    pub began_at: String,
    pub ended_at: String,
    pub journal: Entry,
    /// The version of Mainstay that ran it; none where it was not written down yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mainstay_version: Option<String>,
}

/// The instance that was drilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceShown {
    pub id: String,
    pub tenant: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// The backup that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPointShown {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How many parts it has; the first of them are subjects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckShown {
    pub name: String,
    pub passed: bool,
    /// The figure, or whatever was seen.
    pub seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What the owner asserted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionShown {
    pub query: String,
    pub expected: String,
    /// None where it was not asked, because nothing came back that could have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// What was measured, as far as the drill came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// From the drill's beginning to the first question that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rto_milliseconds: Option<u64>,
    /// From the newest change that came back to the drill's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpo_milliseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_change: Option<String>,
}

/// Where in the journal the drill stands. Digests are BLAKE3 of an event's encoding, each of which holds the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The digest of the journal's first event, by which the layer is known.
    pub layer: String,
    pub sequence: u64,
    /// Of the event, for example `v1.drill.passed`.
    pub kind: String,
    pub digest: String,
    pub previous: String,
}

impl Statement {
    /// The statement about a drill and the parts of the backup that it restored.
    pub fn about(drill: DrillShown, parts: impl IntoIterator<Item = Subject>) -> Self {
        let digest = Digests { blake3: Some(drill.journal.digest.clone()), sha256: None };
        let event = Subject { name: format!("journal/{}", drill.journal.sequence), digest };
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: std::iter::once(event).chain(parts).collect(),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: drill,
        }
    }

    /// Whether it is a statement of the kind that this crate knows.
    pub(crate) fn is_known(&self) -> bool {
        self.kind == STATEMENT_TYPE && self.predicate_type == PREDICATE_TYPE
    }
}
