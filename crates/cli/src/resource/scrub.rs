use indicatif::BinaryBytes;
use mainstay_types::Timestamp;
use serde::Deserialize;

use crate::output::{Cell, vertical};

/// A scrub that runs, or the last one.
#[derive(Deserialize)]
pub(crate) struct ScrubRun {
    state: String,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    #[serde(default)]
    pub contents_done: u64,
    #[serde(default)]
    pub contents_total: u64,
    #[serde(default)]
    bytes_done: u64,
    #[serde(default)]
    damaged: Vec<Damage>,
    #[serde(default)]
    damaged_total: u64,
    /// Why it ended before its end.
    error: Option<String>,
}

#[derive(Deserialize)]
struct Damage {
    address: String,
    reason: String,
    #[serde(default)]
    instances: Vec<String>,
    #[serde(default)]
    objects: Vec<String>,
}

impl ScrubRun {
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
            ("Contents", format!("{} of {}", self.contents_done, self.contents_total).into()),
            ("Bytes", BinaryBytes(self.bytes_done).to_string().into()),
            ("Damaged", self.damaged_total.to_string().into()),
        ];
        if let Some(error) = &self.error {
            fields.push(("Error", error.clone().into()));
        }
        for damage in &self.damaged {
            let belongs = match (damage.instances.join(", "), damage.objects.join(", ")) {
                (instances, _) if instances.is_empty() => "no instance".to_owned(),
                (instances, objects) => format!("{instances}: {objects}"),
            };
            fields.push(("Damage", format!("{}: {}; it belongs to {belongs}", damage.address, damage.reason).into()));
        }
        vertical(&fields)
    }
}
