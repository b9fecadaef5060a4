use indicatif::BinaryBytes;
use mainstay_types::Timestamp;
use serde::Deserialize;

use crate::output::{Cell, vertical};

/// How the layer's own recovery is.
#[derive(Deserialize)]
pub(crate) struct RepositoryStatus {
    state: String,
    repository: Option<Repository>,
    key: Key,
    layer_backup: LayerBackup,
    #[serde(default)]
    copies: Vec<Copy>,
    #[serde(default)]
    reminders: Vec<String>,
}

#[derive(Deserialize)]
struct Repository {
    location: String,
    #[serde(default)]
    contents: u64,
    #[serde(default)]
    raw_bytes: u64,
    #[serde(default)]
    stored_bytes: u64,
    trouble: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    fingerprint: Option<String>,
    acknowledged_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct LayerBackup {
    taken_at: Option<Timestamp>,
    #[serde(default)]
    sequence: u64,
    trouble: Option<String>,
}

#[derive(Deserialize)]
struct Copy {
    location: String,
    mirrored_at: Option<Timestamp>,
    behind_files: Option<u64>,
    behind_bytes: Option<u64>,
    trouble: Option<String>,
}

/// A verification of the repository that runs, or the last one.
#[derive(Deserialize)]
pub(crate) struct VerificationRun {
    state: String,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    #[serde(default)]
    pub done_bytes: u64,
    #[serde(default)]
    pub total_bytes: u64,
    #[serde(default)]
    damaged_total: u64,
    #[serde(default)]
    damaged: Vec<Damage>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Damage {
    file: String,
    reason: String,
    #[serde(default)]
    belongs_to: Vec<String>,
}

impl RepositoryStatus {
    /// Whether backups can be taken now.
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    pub fn details(&self) -> String {
        let moment = |moment: Option<Timestamp>| Cell::from(moment.map(|moment| moment.to_string()));
        let mut fields = vec![("State", Cell::State(self.state.clone()))];
        if let Some(repository) = &self.repository {
            fields.push(("Repository", repository.location.as_str().into()));
            let size = format!(
                "{} contents, {} that take {}",
                repository.contents,
                BinaryBytes(repository.raw_bytes),
                BinaryBytes(repository.stored_bytes)
            );
            fields.push(("Holds", size.into()));
            fields.push(("Key", self.key.fingerprint.clone().into()));
            fields.push(("Key kept since", moment(self.key.acknowledged_at)));
            fields.push(("Own state of", moment(self.layer_backup.taken_at)));
            fields.push(("Own events", self.layer_backup.sequence.to_string().into()));
            for trouble in [&repository.trouble, &self.layer_backup.trouble].into_iter().flatten() {
                fields.push(("Trouble", trouble.clone().into()));
            }
        }
        fields.extend(self.copies.iter().map(|copy| ("Copy", copy.line().into())));
        fields.extend(self.reminders.iter().map(|reminder| ("To do", reminder.clone().into())));
        vertical(&fields)
    }
}

impl Copy {
    fn line(&self) -> String {
        let behind = match (self.behind_files, self.behind_bytes) {
            (Some(0), _) => "up to date".to_owned(),
            (Some(files), bytes) => format!("{files} files and {} behind", BinaryBytes(bytes.unwrap_or(0))),
            (None, _) => match self.mirrored_at {
                Some(at) => format!("was up to date at {at}"),
                None => "never up to date".to_owned(),
            },
        };
        let trouble = self.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        format!("{}: {behind}{trouble}", self.location)
    }
}

impl VerificationRun {
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether it found damage, or did not come to its end to say that there is none.
    pub fn found_damage(&self) -> bool {
        self.damaged_total > 0 || self.error.is_some()
    }

    pub fn details(&self) -> String {
        let moment = |moment: Option<Timestamp>| Cell::from(moment.map(|moment| moment.to_string()));
        let mut fields = vec![
            ("State", Cell::State(self.state.clone())),
            ("Started", moment(self.started_at)),
            ("Finished", moment(self.finished_at)),
            ("Bytes", format!("{} of {}", BinaryBytes(self.done_bytes), BinaryBytes(self.total_bytes)).into()),
            ("Damaged", self.damaged_total.to_string().into()),
        ];
        if let Some(error) = &self.error {
            fields.push(("Error", error.clone().into()));
        }
        for damage in &self.damaged {
            let belongs = match damage.belongs_to.join("; ") {
                nothing if nothing.is_empty() => "no backup".to_owned(),
                names => names,
            };
            fields.push(("Damage", format!("{}: {}; it belongs to {belongs}", damage.file, damage.reason).into()));
        }
        vertical(&fields)
    }
}
