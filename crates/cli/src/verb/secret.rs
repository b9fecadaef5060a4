//! `mainstay secret`: one file for each thing that is done with secrets.

mod delete;
mod get;
mod history;
mod list;
mod put;
mod undelete;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Args)]
pub struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write a secret; where versions are kept, as its next version
    ///
    /// KEY=VALUE stands in the arguments of a process and in a shell's history, where others may see it. Real secrets
    /// come from a file (KEY=@FILE), or from standard input (KEY=-), which a terminal does not show. `@FILE.json` and
    /// `-` alone are a whole JSON object. Files and input are taken as they are, with a newline at their end; `\@` is
    /// an `@` that names no file.
    Put(put::Put),
    /// Show a secret
    Get(get::Get),
    /// List what there is below a path; names that end in a slash have more below them
    List(list::List),
    /// Delete a secret's newest version, which can be undone, or what a flag says
    Delete(delete::Delete),
    /// Bring deleted versions back
    Undelete(undelete::Undelete),
    /// Show a secret's versions, without their values
    History(history::History),
}

impl Secret {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Put(action) => action.run(session),
            Action::Get(action) => action.run(session),
            Action::List(action) => action.run(session),
            Action::Delete(action) => action.run(session),
            Action::Undelete(action) => action.run(session),
            Action::History(action) => action.run(session),
        }
    }
}
