use std::collections::BTreeMap;

use clap::Args;
use mainstay_types::Timestamp;
use serde::Deserialize;

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output::{self, Cell, Format};
use crate::resource::Resource;
use crate::secret::{Location, SecretPath};
use crate::session::Session;

#[derive(Args)]
pub struct History {
    /// The secret with its mount, for example secret/app
    path: SecretPath,
}

#[derive(Deserialize)]
struct Metadata {
    current_version: u64,
    /// By number, as text.
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

#[derive(Deserialize)]
struct Row {
    version: u64,
    created: String,
    state: String,
    deletion: Option<String>,
}

impl History {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let location = Location::find_versioned(vault, &self.path)?;
        let answer = vault.read(&location.metadata(), &[])?;
        match session.format() {
            Format::Table => output::write(&output::table(&rows(Envelope::data(&answer)?, Timestamp::now()))),
            format => output::write(&output::document(&answer, format)?),
        }
    }
}

/// The versions, newest first.
fn rows(metadata: Metadata, now: Timestamp) -> Vec<Row> {
    let mut rows: Vec<Row> = metadata
        .versions
        .into_iter()
        .filter_map(|(number, version)| {
            let number = number.parse().ok()?;
            let deleted = version.deletion_time.parse::<Timestamp>().is_ok_and(|moment| moment <= now);
            let state = match (version.destroyed, deleted) {
                (true, _) => "destroyed",
                (_, true) => "deleted",
                _ if number == metadata.current_version => "current",
                _ => "kept",
            };
            let deletion = Some(version.deletion_time).filter(|time| !time.is_empty());
            Some(Row { version: number, created: version.created_time, state: state.to_owned(), deletion })
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.version));
    rows
}

impl Resource for Row {
    const PLURAL: &'static str = "versions";
    const COLUMNS: &'static [&'static str] = &["VERSION", "STATE", "CREATED", "DELETION"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.version.into(),
            Cell::State(self.state.clone()),
            self.created.as_str().into(),
            self.deletion.as_deref().into(),
        ]
    }
}
