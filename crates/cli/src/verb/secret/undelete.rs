use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::delete::listed;
use crate::client::Envelope;
use crate::failure::Failure;
use crate::output;
use crate::secret::{Location, SecretPath};
use crate::session::Session;

#[derive(Args)]
pub struct Undelete {
    /// The secret with its mount, for example secret/app
    path: SecretPath,

    /// The versions [default: the newest]
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,...")]
    versions: Vec<u64>,
}

impl Undelete {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Metadata {
            current_version: u64,
        }
        let vault = session.client.vault();
        let location = Location::find_versioned(vault, &self.path)?;
        let versions = if self.versions.is_empty() {
            let Metadata { current_version } = Envelope::data(&vault.read(&location.metadata(), &[])?)?;
            vec![current_version]
        } else {
            self.versions
        };
        vault.write(&location.api_path("undelete"), &json!({ "versions": versions }))?;
        output::message(&format!("Brought back version {} of {}.", listed(&versions), self.path));
        Ok(())
    }
}
