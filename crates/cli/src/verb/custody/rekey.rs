use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::shares::{NewShares, Split, brought};
use crate::client::Vault;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

const PATH: &str = "sys/rekey/init";

#[derive(Args)]
pub struct Rekey {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Begin, with how many shares to make
    Init(Split),
    /// Bring a share of the present key, as `unseal` does; with the last one needed the new shares are shown, this once
    Update,
    /// Give it up; the present shares stay
    Cancel,
    /// Show how far it is
    Status,
}

/// How far a rekeying is.
#[derive(Deserialize)]
struct Progress {
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    started: bool,
    #[serde(default)]
    progress: u64,
    #[serde(default)]
    required: u64,
    #[serde(default)]
    complete: bool,
}

impl Rekey {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let vault = session.client.vault();
        let answer = match self.action {
            Action::Init(split) => vault.write(PATH, &split)?,
            Action::Status => vault.read(PATH, &[])?,
            Action::Update => update(vault)?,
            Action::Cancel => {
                vault.delete(PATH)?;
                output::message("Given up. The present shares stay.");
                return Ok(());
            }
        };
        let progress: Progress = output::read(&answer)?;
        match session.format() {
            Format::Table if progress.complete => output::read::<NewShares>(&answer)?.print()?,
            Format::Table if progress.started => {
                output::message(&format!("{} of {} shares were brought.", progress.progress, progress.required));
            }
            Format::Table => output::message("No rekeying was begun."),
            format => output::write(&output::document(&answer, format)?)?,
        }
        if progress.complete {
            output::message("They are shown this once, and the old ones are worth nothing now.");
        }
        Ok(())
    }
}

fn update(vault: Vault<'_>) -> Result<String, Failure> {
    let begun: Progress = output::read(&vault.read(PATH, &[])?)?;
    if !begun.started {
        return Err(Failure::Usage {
            sentence: "no rekeying was begun".to_owned(),
            remedy: Some("begin with `mainstay custody rekey init`".to_owned()),
        });
    }
    let mut answer = String::new();
    for share in brought()? {
        let body = json!({ "key": share.expose_secret(), "nonce": begun.nonce });
        answer = vault.write("sys/rekey/update", &body)?;
        if output::read::<Progress>(&answer)?.complete {
            break;
        }
    }
    Ok(answer)
}
