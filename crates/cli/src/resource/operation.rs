use indicatif::BinaryBytes;
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
    /// What is being done just now, where that can be watched.
    pub doing: Option<Doing>,
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
pub(crate) struct Doing {
    stage: String,
    bytes_done: u64,
    bytes_expected: Option<u64>,
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
        let now = said.cloned().or_else(|| self.now());
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
    /// What is being done now: the first step that is not over, or where that can be watched how far it has come.
    pub fn now(&self) -> Option<String> {
        let step = || self.steps.iter().find(|step| step.state != "succeeded").map(|step| step.name.clone());
        self.doing.as_ref().and_then(Doing::to_text).or_else(step)
    }
}

impl Doing {
    /// None while the work has not begun.
    fn to_text(&self) -> Option<String> {
        let Self { stage, bytes_done, bytes_expected } = self;
        let done = BinaryBytes(*bytes_done);
        match (stage.is_empty(), bytes_expected) {
            (true, _) => None,
            (false, Some(expected)) if bytes_done < expected => {
                Some(format!("{stage}, {done} of about {}", BinaryBytes(*expected)))
            }
            (false, _) => Some(format!("{stage}, {done}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Doing;

    #[test]
    fn what_is_being_done() {
        let text = |stage: &str, bytes_done, bytes_expected| {
            Doing { stage: stage.to_owned(), bytes_done, bytes_expected }.to_text()
        };
        assert_eq!(text("", 0, Some(5)), None);
        assert_eq!(
            text("copying the cluster", 310 << 20, Some(2 << 30)).unwrap(),
            "copying the cluster, 310.00 MiB of about 2.00 GiB"
        );
        assert_eq!(text("replaying the log", 400, Some(300)).unwrap(), "replaying the log, 400 B", "there was more");
        assert_eq!(text("copying the cluster", 400, None).unwrap(), "copying the cluster, 400 B");
    }
}
