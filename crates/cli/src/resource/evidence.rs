use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Resource, age};
use crate::output::Cell;

/// A key that evidence is signed with.
#[derive(Deserialize)]
pub(crate) struct EvidenceKey {
    pub id: String,
    number: u32,
    pub public_key: String,
    introduced_at: Timestamp,
    sequence: u64,
}

/// Whether evidence is what was signed. It is made here, and printed as whatever the API answers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Verified {
    pub file: String,
    pub verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
    /// What it claims, whether that is true or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<VerifiedDrill>,
}

/// A key by which evidence was judged.
#[derive(Serialize, Deserialize)]
pub(crate) struct TrustedKey {
    pub id: String,
    /// `named` by whoever asked, or `export`: it came with the evidence, and anybody may have made it.
    pub from: String,
    pub file: String,
}

/// The drill that evidence is about.
#[derive(Serialize, Deserialize)]
pub(crate) struct VerifiedDrill {
    pub sequence: u64,
    pub tenant: String,
    pub instance: String,
    pub result: String,
    pub ended_at: String,
}

impl Resource for EvidenceKey {
    const PLURAL: &'static str = "keys";
    const COLUMNS: &'static [&'static str] = &["NUMBER", "ID", "SINCE EVENT", "AGE"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            u64::from(self.number).into(),
            self.id.as_str().into(),
            self.sequence.into(),
            age(Some(self.introduced_at)),
        ]
    }
}

impl Resource for TrustedKey {
    const PLURAL: &'static str = "keys";
    const COLUMNS: &'static [&'static str] = &["TRUSTED KEY", "FROM", "FILE"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.id.as_str().into(), self.from.as_str().into(), self.file.as_str().into()]
    }
}

impl Resource for Verified {
    const PLURAL: &'static str = "evidence";
    const COLUMNS: &'static [&'static str] = &["FILE", "SIGNATURE", "EVENT", "INSTANCE", "RESULT", "ENDED", "FLAW"];

    fn cells(&self) -> Vec<Cell> {
        let drill = self.drill.as_ref();
        vec![
            self.file.as_str().into(),
            Cell::State(if self.verified { "good" } else { "failed" }.to_owned()),
            drill.map(|drill| drill.sequence.to_string()).into(),
            drill.map(|drill| drill.instance.as_str()).into(),
            drill.map(|drill| drill.result.as_str()).into(),
            drill.map(|drill| drill.ended_at.as_str()).into(),
            self.flaw.as_deref().into(),
        ]
    }
}
