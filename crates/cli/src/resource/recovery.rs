use indicatif::BinaryBytes;
use mainstay_types::Timestamp;
use serde::Deserialize;

use super::{Resource, age};
use crate::duration::rough;
use crate::output::Cell;

/// What an instance can be restored from.
#[derive(Deserialize)]
pub(crate) struct Backup {
    id: String,
    cluster: String,
    engine: String,
    version: String,
    #[serde(default)]
    proven: bool,
    bytes: u64,
    ended_at: Timestamp,
    #[serde(default)]
    uncovered: Vec<String>,
}

/// A recovery point that was tried.
#[derive(Deserialize)]
pub(crate) struct Drill {
    instance: String,
    backup: Option<String>,
    state: String,
    reason: Option<String>,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<f64>,
    #[serde(default)]
    checks: Vec<serde::de::IgnoredAny>,
    ended_at: Option<Timestamp>,
}

impl Resource for Backup {
    const PLURAL: &'static str = "backups";
    const COLUMNS: &'static [&'static str] =
        &["ID", "UNTIL", "PROVEN", "CLUSTER", "ENGINE", "READ", "AGE", "NOT COVERED"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.as_str().into(),
            self.ended_at.to_string().into(),
            if self.proven { "yes" } else { "no" }.into(),
            self.cluster.as_str().into(),
            format!("{} {}", self.engine, self.version).into(),
            BinaryBytes(self.bytes).to_string().into(),
            age(Some(self.ended_at)),
            Some(self.uncovered.join("; ")).filter(|text| !text.is_empty()).into(),
        ]
    }
}

impl Resource for Drill {
    const PLURAL: &'static str = "drills";
    const COLUMNS: &'static [&'static str] =
        &["INSTANCE", "STATE", "BACKUP", "TIME TO RECOVER", "LOSS", "CHECKS", "AGE", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        // Below a minute tenths of a second count.
        let seconds =
            |value: Option<f64>| Cell::from(value.map(|s| if s < 60.0 { format!("{s:.1}s") } else { rough(s as u64) }));
        vec![
            self.instance.as_str().into(),
            Cell::State(self.state.clone()),
            self.backup.as_deref().into(),
            seconds(self.rto_seconds),
            seconds(self.rpo_seconds),
            (self.checks.len() as u64).into(),
            age(self.ended_at),
            self.reason.as_deref().into(),
        ]
    }
}
