use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::prompt;
use crate::secret::{Location, SecretPath};
use crate::session::Session;

#[derive(Args)]
pub struct Delete {
    /// The secret with its mount, for example secret/app
    path: SecretPath,

    /// These versions and not the newest
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,...")]
    versions: Vec<u64>,

    /// Destroy the versions for ever
    #[arg(long, requires = "versions")]
    destroy: bool,

    /// Destroy the secret with all its versions, for ever
    #[arg(long, conflicts_with_all = ["versions", "destroy"])]
    all: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { path, versions, destroy, all, yes } = self;
        let vault = session.client.vault();
        let location = if versions.is_empty() {
            Location::find_secret(vault, &path)
        } else {
            Location::find_versioned(vault, &path)
        }?;
        // Where no versions are kept nothing can be brought back.
        let consequence = match (all || !location.is_versioned(), destroy) {
            (true, _) => Some(format!("this destroys {path} for ever")),
            (_, true) => Some(format!("this destroys versions {} of {path} for ever", listed(&versions))),
            _ => None,
        };
        if let Some(consequence) = consequence.filter(|_| !yes)
            && !prompt::confirmed(&consequence, path.as_str())?
        {
            return Err(Failure::usage(format!("{path} was not deleted")));
        }
        match (all, destroy, versions.is_empty()) {
            (true, ..) => vault.delete(&location.metadata())?,
            (_, true, _) => vault.write(&location.api_path("destroy"), &json!({ "versions": versions }))?,
            (.., false) => vault.write(&location.api_path("delete"), &json!({ "versions": versions }))?,
            (.., true) => vault.delete(&location.data())?,
        };
        output::message(&match (all || !location.is_versioned(), destroy) {
            (true, _) => format!("Destroyed {path}."),
            (_, true) => format!("Destroyed versions {} of {path}.", listed(&versions)),
            _ if versions.is_empty() => {
                format!("Deleted the newest version of {path}; `mainstay secret undelete` brings it back.")
            }
            _ => format!(
                "Deleted versions {} of {path}; `mainstay secret undelete` brings them back.",
                listed(&versions)
            ),
        });
        Ok(())
    }
}

pub(super) fn listed(versions: &[u64]) -> String {
    versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
