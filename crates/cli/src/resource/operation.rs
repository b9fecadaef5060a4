use mainstay_types::Timestamp;
use serde::Deserialize;

use super::event::Subject;
use super::{Resource, age};
use crate::output::Cell;

#[derive(Deserialize)]
pub(crate) struct Operation {
    pub id: String,
    pub kind: String,
    pub subject: Option<Subject>,
    pub state: OperationState,
    /// In percent.
    #[serde(default)]
    pub progress: u64,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What came of it, where that needs saying.
    pub detail: Option<String>,
    pub error: Option<OperationError>,
    pub created_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum OperationState {
    #[serde(rename = "in progress")]
    InProgress,
    #[serde(rename = "succeeded")]
    Succeeded,
    #[serde(rename = "failed")]
    Failed,
}

#[derive(Deserialize)]
pub(crate) struct Step {
    name: String,
    state: String,
}

#[derive(Deserialize)]
pub(crate) struct OperationError {
    pub detail: String,
}

impl Resource for Operation {
    const PLURAL: &'static str = "operations";
    const COLUMNS: &'static [&'static str] = &["ID", "KIND", "SUBJECT", "STATE", "PROGRESS", "STEP", "AGE"];

    fn cells(&self) -> Vec<Cell> {
        let state = match self.state {
            OperationState::InProgress => "in progress",
            OperationState::Succeeded => "succeeded",
            OperationState::Failed => "failed",
        };
        let said = self.error.as_ref().map(|error| &error.detail).or(self.detail.as_ref());
        let now = said.map(String::as_str).or_else(|| self.current_step());
        vec![
            self.id.as_str().into(),
            self.kind.as_str().into(),
            self.subject.as_ref().map(Subject::to_text).into(),
            Cell::State(state.to_owned()),
            format!("{}%", self.progress).into(),
            now.into(),
            age(self.created_at),
        ]
    }
}

impl Operation {
    /// What is being done now: the first step that is not over.
    pub fn current_step(&self) -> Option<&str> {
        self.steps.iter().find(|step| step.state != "succeeded").map(|step| step.name.as_str())
    }
}
