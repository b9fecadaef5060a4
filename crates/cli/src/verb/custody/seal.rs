use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::session::Session;

#[derive(Args)]
pub struct Seal {}

impl Seal {
    /// It does not ask: whoever seals is in a hurry, and nothing is lost by it.
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        session.client.vault().write("sys/seal", &json!({}))?;
        output::message(
            "Sealed. No secret can be read until `mainstay custody unseal`, or where a key file unseals until a restart.",
        );
        Ok(())
    }
}
