use std::collections::BTreeMap;

use mainstay_types::Timestamp;
use serde::Deserialize;

use crate::output::{Cell, vertical};

/// How the layer is.
#[derive(Deserialize)]
pub(crate) struct Status {
    version: String,
    pub ready: bool,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    journal: Option<Journal>,
    /// How many instances are in each state.
    #[serde(default)]
    instances: BTreeMap<String, u64>,
    /// What somebody should do.
    #[serde(default)]
    reminders: Vec<String>,
    data_as_of: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    ready: bool,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Journal {
    sequence: u64,
}

impl Status {
    pub fn details(&self) -> String {
        let ready = |is: bool| Cell::State(if is { "ready" } else { "not ready" }.to_owned());
        let mut fields = vec![("Version", self.version.as_str().into()), ("State", ready(self.ready))];
        for dependency in &self.dependencies {
            let cell = match &dependency.detail {
                Some(detail) if !dependency.ready => Cell::State(format!("not ready: {detail}")),
                _ => ready(dependency.ready),
            };
            fields.push((&dependency.name, cell));
        }
        let counts: Vec<String> = self.instances.iter().map(|(state, count)| format!("{count} {state}")).collect();
        fields.push(("Instances", if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }.into()));
        fields.push(("Journal", self.journal.as_ref().map(|journal| format!("{} events", journal.sequence)).into()));
        fields.push(("As of", self.data_as_of.map(|moment| moment.to_string()).into()));
        fields.extend(self.reminders.iter().map(|reminder| ("To do", reminder.as_str().into())));
        vertical(&fields)
    }
}
