use clap::Args;
use serde::Deserialize;

use crate::failure::Failure;
use crate::output::{self, Cell, Format};
use crate::session::Session;

#[derive(Args)]
pub struct Status {}

/// How custody is sealed.
#[derive(Deserialize)]
pub(super) struct SealStatus {
    #[serde(rename = "type")]
    kind: String,
    initialized: bool,
    pub sealed: bool,
    /// How many shares open it, of how many; 0 where it needs none.
    t: u64,
    n: u64,
    progress: u64,
}

impl Status {
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        let answer = session.client.vault().read("sys/seal-status", &[])?;
        let status: SealStatus = output::read(&answer)?;
        match session.format() {
            Format::Table => output::write(&output::vertical(&status.fields()))?,
            format => output::write(&output::document(&answer, format)?)?,
        }
        Ok(u8::from(status.sealed || !status.initialized))
    }
}

impl SealStatus {
    pub fn fields(&self) -> Vec<(&'static str, Cell)> {
        let state = match (self.initialized, self.sealed) {
            (false, _) => "without keys: `mainstay custody init` makes them",
            (true, true) => "sealed",
            (true, false) => "open",
        };
        let mut fields = vec![("State", Cell::State(state.to_owned())), ("Seal", self.kind.as_str().into())];
        if self.t > 0 {
            fields.push(("Shares", format!("{} of {}", self.t, self.n).into()));
        }
        if self.sealed && self.t > 0 {
            fields.push(("Brought", format!("{} of {}", self.progress, self.t).into()));
        }
        fields
    }
}
