//! `mainstay drills`: what there were, evidence of them, and whether that is genuine.

mod export;
mod keys;
mod verify;

use clap::{Args, Subcommand};
use mainstay_types::InstanceName;

use crate::failure::Failure;
use crate::resource::Drill;
use crate::session::Session;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Drills {
    #[command(subcommand)]
    action: Option<Action>,

    /// Of this instance only
    name: Option<InstanceName>,
}

#[derive(Subcommand)]
enum Action {
    /// Write signed evidence of drills, the same bytes whenever it is written
    ///
    /// A directory gets a file for each drill and one for each key; a file, or standard output, gets all in one.
    Export(export::Export),
    /// See whether evidence is what was signed; neither a layer nor a token is needed
    ///
    /// Exits with 0 where all of it is what was signed with a key that is trusted, and with 1 where something of it is not, or where there is
    /// none. The result names the keys that were trusted: without --keys those that came with the evidence, which show that nothing was
    /// changed since, and not who signed.
    Verify(verify::Verify),
    /// List the keys that evidence is signed with, or sign with a new one from now on
    Keys(keys::Keys),
}

impl Drills {
    /// Does it. The number is the exit code.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        match (self.action, self.name) {
            (Some(Action::Verify(action)), _) => return action.run(session),
            (Some(Action::Export(action)), _) => action.run(session),
            (Some(Action::Keys(action)), _) => action.run(session),
            (None, Some(name)) => session.print_list::<Drill>(&format!("/instances/{name}/drills"), &[]),
            (None, None) => session.print_list::<Drill>("/drills", &[]),
        }?;
        Ok(0)
    }

    /// What is there is verified with what is there.
    pub(crate) fn needs_token(&self) -> bool {
        !matches!(self.action, Some(Action::Verify(_)))
    }
}
