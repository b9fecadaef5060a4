use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::client::Envelope;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Args)]
pub struct Rotate {
    /// Rotate the key in the key file instead, which opens custody at each start
    ///
    /// The file is replaced. A snapshot from before opens with the old file alone: keep a copy of it as long as the
    /// snapshot, or take a new snapshot.
    #[arg(long)]
    master_key: bool,
}

#[derive(Deserialize)]
struct KeyStatus {
    term: u64,
}

impl Rotate {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        if self.master_key {
            vault.write("sys/rotate/root", &json!({}))?;
            output::message(
                "The key file holds a new key. Snapshots from before open with the old one alone: take a new one now.",
            );
            return Ok(());
        }
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
