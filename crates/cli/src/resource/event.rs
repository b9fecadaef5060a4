use mainstay_types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Resource;
use crate::output::Cell;

#[derive(Deserialize)]
pub(crate) struct Event {
    pub sequence: u64,
    time: Timestamp,
    tenant: Option<String>,
    actor: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<Subject>,
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(crate) struct Subject {
    kind: String,
    id: String,
}

impl Resource for Event {
    const PLURAL: &'static str = "events";
    const COLUMNS: &'static [&'static str] = &["SEQUENCE", "TIME", "TYPE", "SUBJECT", "TENANT", "ACTOR", "PAYLOAD"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.sequence.into(),
            self.time.whole_seconds().to_string().replace(".000000Z", "Z").into(),
            self.kind.as_str().into(),
            self.subject.as_ref().map(Subject::to_text).into(),
            self.tenant.as_deref().into(),
            self.actor.as_deref().into(),
            self.payload.as_ref().map(|payload| payload.get()).into(),
        ]
    }
}

impl Event {
    /// One event alone: its columns have fixed widths, because what comes after it is not known yet.
    pub fn line(&self) -> String {
        let time = self.time.whole_seconds().to_string().replace(".000000Z", "Z");
        let subject = self.subject.as_ref().map(Subject::to_text).unwrap_or_default();
        let payload = self.payload.as_ref().map(|payload| payload.get()).unwrap_or_default();
        format!("{:<8}  {time}  {:<28}  {subject:<24}  {payload}\n", self.sequence, self.kind)
    }
}

impl Subject {
    pub fn to_text(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }
}
