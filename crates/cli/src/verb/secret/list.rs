use clap::Args;
use serde::Deserialize;

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::secret::{Location, SecretPath};
use crate::session::Session;

/// What a folder without anything in it is to programs: the API has no answer for it.
const NOTHING: &str = r#"{"data":{"keys":[]}}"#;

#[derive(Args)]
pub struct List {
    /// A mount, or a folder in one
    #[arg(default_value = "secret/")]
    path: SecretPath,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

impl List {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let answer = vault.list(&Location::find(vault, &self.path)?.metadata())?;
        match (session.format(), answer) {
            (Format::Table, None) => output::message(&format!("No secrets below {}/.", self.path)),
            (Format::Table, Some(answer)) => {
                let Keys { keys } = Envelope::data(&answer)?;
                output::write(&keys.iter().map(|key| format!("{}\n", output::clean(key))).collect::<String>())?;
            }
            (format, answer) => {
                output::write(&output::document(answer.as_deref().unwrap_or(NOTHING), format)?)?;
            }
        }
        Ok(())
    }
}
