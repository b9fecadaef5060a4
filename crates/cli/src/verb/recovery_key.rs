use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Args)]
pub struct RecoveryKey {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the recovery kit, to be printed and kept in a safe place
    Show,
    /// Split the key into shares for several people
    Split {
        /// How many shares to make
        #[arg(long, value_name = "NUMBER")]
        shares: u8,
        /// How many of them make the key again
        #[arg(long, value_name = "NUMBER")]
        threshold: u8,
    },
    /// Say that the key is kept in a safe place, so that nobody is reminded any more
    Acknowledge,
}

#[derive(Deserialize)]
struct Kit {
    kit: SecretString,
}

#[derive(Deserialize)]
struct Shares {
    shares: Vec<SecretString>,
}

impl RecoveryKey {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Show => {
                let answer = session.client.get("/recovery/key", &[])?;
                print(session, &answer, |answer| Ok(output::read::<Kit>(answer)?.kit.expose_secret().to_owned()))?;
                output::message("Once it is kept in a safe place, say so with: mainstay recovery-key acknowledge");
            }
            Action::Split { shares, threshold } => {
                let body = serde_json::json!({ "shares": shares, "threshold": threshold });
                let answer = session.client.post("/recovery/key/shares", &[], &body)?;
                print(session, &answer, |answer| {
                    let made = output::read::<Shares>(answer)?.shares;
                    let line = |(at, share): (usize, &SecretString)| {
                        format!("Share {} of {}: {}\n", at + 1, made.len(), share.expose_secret())
                    };
                    Ok(made.iter().enumerate().map(line).collect())
                })?;
                output::message(&format!(
                    "Give each share to another person. Any {threshold} of them make the key again; the key itself stays as it is."
                ));
            }
            Action::Acknowledge => {
                session.client.post("/recovery/key/acknowledge", &[], &serde_json::json!({}))?;
                output::message("It is recorded that the recovery key is kept in a safe place.");
            }
        }
        Ok(())
    }
}

fn print(
    session: &Session,
    answer: &str,
    as_text: impl FnOnce(&str) -> Result<String, Failure>,
) -> Result<(), Failure> {
    match session.format() {
        Format::Table => output::write(&as_text(answer)?),
        format => output::write(&output::document(answer, format)?),
    }
}
