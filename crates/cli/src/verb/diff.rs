use std::path::PathBuf;

use clap::Args;

use super::apply::{existing, read_manifest};
use crate::failure::Failure;
use crate::manifest::changes;
use crate::output;
use crate::session::Session;

#[derive(Args)]
pub struct Diff {
    /// The file of instances; '-' reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Diff {
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        let wanted = read_manifest(&self.file)?;
        let existing = existing(session)?;
        let changes = changes(&wanted, &existing);
        output::write(&changes.iter().map(|change| change.lines()).collect::<String>())?;
        let named = |name| wanted.iter().any(|instance| &instance.name == name);
        let others = existing.iter().filter(|instance| !instance.is_going() && !named(&instance.name)).count();
        if others > 0 {
            output::message(&format!(
                "{others} more exist that the file does not name; `apply` leaves them as they are."
            ));
        }
        Ok(if changes.is_empty() { 0 } else { 1 })
    }
}
