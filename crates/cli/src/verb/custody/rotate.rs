use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Args)]
pub struct Rotate {}

#[derive(Deserialize)]
struct KeyStatus {
    term: u64,
}

impl Rotate {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        vault.write("sys/rotate", &json!({}))?;
        let answer = vault.read("sys/key-status", &[])?;
        match session.format() {
            Format::Table => {
                let KeyStatus { term } = Envelope::data(&answer)?;
                output::message(&format!("What is written from now on is encrypted with data key {term}."));
                Ok(())
            }
            format => output::write(&output::document(&answer, format)?),
        }
    }
}
