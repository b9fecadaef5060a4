//! Much evidence in one file, with the keys to it.

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;

/// The form of a bundle. It goes up with whatever an older reader would misread.
pub const FORMAT: &str = "mainstay.evidence/1";

/// Evidence in the order of the journal, and the public keys that it is signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub evidence: Vec<Envelope>,
    pub format: String,
    /// In PEM, in the order in which they came into use.
    pub keys: Vec<String>,
}

impl Bundle {
    pub fn new(evidence: Vec<Envelope>, keys: Vec<String>) -> Self {
        Self { evidence, format: FORMAT.to_owned(), keys }
    }

    /// The file that it is written to.
    pub fn to_file(&self) -> String {
        serde_json::to_string_pretty(self).expect("a bundle has text for its keys") + "\n"
    }
}
