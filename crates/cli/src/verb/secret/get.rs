use std::io::{self, IsTerminal};

use clap::Args;

use crate::failure::Failure;
use crate::output::{self, Cell, Format};
use crate::secret::{Location, SecretPath, text};
use crate::session::Session;

#[derive(Args)]
pub struct Get {
    /// The secret with its mount, for example secret/app
    path: SecretPath,

    /// Print this key's value alone; with a newline after it on a terminal only, so that a program gets it unchanged
    #[arg(long, value_name = "KEY")]
    field: Option<String>,

    /// An older version than the newest
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

impl Get {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let location = Location::find_secret(vault, &self.path)?;
        let answer = location.read(vault, self.version)?;
        let secret = location.understand(&answer)?;
        if let Some(field) = &self.field {
            let value = secret.data.get(field).ok_or_else(|| Failure::Usage {
                sentence: format!("{} has no key {field}", self.path),
                remedy: Some(format!("it has {}", names(secret.data.keys()))),
            })?;
            let end = if io::stdout().is_terminal() { "\n" } else { "" };
            return output::write_raw(&(text(value) + end));
        }
        if session.format() != Format::Table {
            return output::write(&output::document(&answer, session.format())?);
        }
        let rows: Vec<(&str, Cell)> =
            secret.data.iter().map(|(key, value)| (key.as_str(), text(value).into())).collect();
        output::write(&output::vertical(&rows))?;
        if let Some((version, created)) = &secret.version {
            output::message(&format!("Version {version} of {}, of {created}.", self.path));
        }
        if let Some(lease) = &secret.lease {
            let message =
                format!("Made for you: serves {}s, ends with `mainstay custody revoke {}`.", lease.seconds, lease.id);
            output::message(&message);
        }
        Ok(())
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let names = keys.map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}
