//! Shares of the key that opens custody: how many to make, where they come from, how they are shown.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::output;
use crate::prompt;

/// More lines than any key has shares.
const MOST_SHARES: usize = 255;

/// How a key is to be split.
#[derive(Args, Serialize)]
pub struct Split {
    /// How many shares to make
    #[arg(long = "shares", default_value_t = 5, value_name = "NUMBER")]
    secret_shares: u8,

    /// How many of them open custody
    #[arg(long = "threshold", default_value_t = 3, value_name = "NUMBER")]
    secret_threshold: u8,
}

/// Shares that were just made, and with the first of them a token.
#[derive(Deserialize)]
pub(super) struct NewShares {
    keys_base64: Vec<SecretString>,
    root_token: Option<SecretString>,
}

/// One share that a terminal asks for, or all that standard input has, one in each line.
pub(super) fn brought() -> Result<Vec<SecretString>, Failure> {
    let text = prompt::secret("A share of the key (it is not shown):")?;
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
    let shares: Vec<SecretString> = lines.take(MOST_SHARES).map(SecretString::from).collect();
    if shares.is_empty() {
        return Err(Failure::usage("no share was given: standard input has none"));
    }
    Ok(shares)
}

impl NewShares {
    pub fn print(&self) -> Result<(), Failure> {
        let shares = self.keys_base64.iter().enumerate();
        let mut lines: String =
            shares.map(|(at, share)| format!("Share {}: {}\n", at + 1, share.expose_secret())).collect();
        if let Some(token) = &self.root_token {
            lines += &format!("Root token: {}\n", token.expose_secret());
        }
        output::write(&lines)
    }
}
