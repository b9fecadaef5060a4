use clap::Args;
use serde_json::{Value, json};

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::secret::{Assignment, Location, SecretPath, Surroundings, assigned};
use crate::session::Session;

#[derive(Args)]
pub struct Put {
    /// The secret with its mount, for example secret/app
    path: SecretPath,

    /// KEY=VALUE, KEY=@FILE, KEY=-, @FILE.json or -
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = unchecked)]
    assignments: Vec<secrecy::SecretString>,

    /// Write only where this is the newest version; 0 where there is none yet
    #[arg(long, value_name = "VERSION")]
    cas: Option<u64>,
}

impl Put {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let assignments = self.assignments.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
        let vault = session.client.vault();
        let location = Location::find_secret(vault, &self.path)?;
        if self.cas.is_some() && !location.is_versioned() {
            return Err(Failure::usage(format!("--cas needs versions, which {} does not keep", location.mount())));
        }
        let data = Value::Object(assigned(&assignments, &Surroundings)?);
        let body = match (location.is_versioned(), self.cas) {
            (false, _) => data,
            (true, None) => json!({ "data": data }),
            (true, Some(cas)) => json!({ "data": data, "options": { "cas": cas } }),
        };
        let answer = vault.write(&location.data(), &body)?;
        match session.format() {
            Format::Table => {
                let written = (!answer.is_empty()).then(|| Envelope::<Value>::read(&answer)).transpose()?;
                let version = written.and_then(|envelope| envelope.data?.get("version").and_then(Value::as_u64));
                let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
                output::message(&format!("Written: {}{version}.", self.path));
                Ok(())
            }
            _ if answer.is_empty() => Ok(()),
            format => output::write(&output::document(&answer, format)?),
        }
    }
}

/// Takes anything: what a parser of clap's refuses, clap prints.
fn unchecked(text: &str) -> Result<secrecy::SecretString, std::convert::Infallible> {
    Ok(text.into())
}

fn parsed(text: &secrecy::SecretString) -> Result<Assignment, Failure> {
    use secrecy::ExposeSecret;
    text.expose_secret().parse().map_err(|rule| Failure::usage(format!("a value makes no sense: {rule}")))
}
