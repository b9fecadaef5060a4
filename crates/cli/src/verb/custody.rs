//! `mainstay custody`: one file for each thing that operators do with the seal, the keys and the leases.

mod init;
mod leases;
mod progress;
mod rekey;
mod restore;
mod revoke;
mod rotate;
mod seal;
mod shares;
mod snapshot;
mod status;
mod unseal;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Args)]
pub struct Custody {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show whether custody is sealed, and what it takes to open it
    ///
    /// Exits with 1 where it is sealed or has no keys yet, for scripts that wait for it.
    Status(status::Status),
    /// Make the keys of a new custody; the shares and the first token are shown this once
    Init(init::Init),
    /// Bring a share of the key that opens custody
    ///
    /// A terminal asks for one share and does not show it. Otherwise standard input has one share in each line. A share is
    /// never an argument, which others on this machine could see.
    Unseal(unseal::Unseal),
    /// Seal custody: no secret can be read until it is unsealed
    Seal(seal::Seal),
    /// Encrypt what is written from now on with a new data key, or replace the key in the key file
    Rotate(rotate::Rotate),
    /// Make new shares; the old ones are worth nothing after it
    Rekey(rekey::Rekey),
    /// List leases by their ids
    Leases(leases::Leases),
    /// Take back what a lease is for: a lease or all that begin alike
    Revoke(revoke::Revoke),
    /// Write all of custody to a file, sealed as it is: useless without its seal
    Snapshot(snapshot::Snapshot),
    /// Put a snapshot into custody, which is sealed then; without --force only where custody is empty
    Restore(restore::Restore),
}

impl Custody {
    /// Does it. The number is the exit code.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        match self.action {
            Action::Status(action) => return action.run(session),
            Action::Init(action) => action.run(session),
            Action::Unseal(action) => action.run(session),
            Action::Seal(action) => action.run(session),
            Action::Rotate(action) => action.run(session),
            Action::Rekey(action) => action.run(session),
            Action::Leases(action) => action.run(session),
            Action::Revoke(action) => action.run(session),
            Action::Snapshot(action) => action.run(session),
            Action::Restore(action) => action.run(session),
        }?;
        Ok(0)
    }

    /// What comes before there can be a token needs none.
    pub(crate) fn needs_token(&self) -> bool {
        !matches!(self.action, Action::Status(_) | Action::Init(_) | Action::Unseal(_))
    }
}
