//! What the user typed, what it means, the request, the table.
//!
//! The binary flattens [`Global`] and [`Verb`] into its own command line beside the commands that act on this machine
//! (`up`, `server`, `doctor`); everything here speaks to a running layer through its HTTP API, as any program could.
//!
//! Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage; `diff` answers
//! 0 same, 1 different, 2 failed; `run` answers with the exit code of what it ran.

mod agent;
mod client;
mod delivery;
mod duration;
mod failure;
mod global;
mod manifest;
mod operation;
mod output;
mod prompt;
mod resource;
mod secret;
mod session;
mod verb;

pub use global::Global;
pub use prompt::ask_secret;
pub use verb::Verb;

use std::process::ExitCode;

/// Does what was typed and says how it went, as an exit code and on standard error.
pub fn run(global: &Global, verb: Verb) -> ExitCode {
    let failed = verb.exit_code_of_failure();
    let done = global.session(verb.needs_token()).and_then(|session| verb.run(&session));
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever reads the output has enough of it: `mainstay list | head -1`.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code().unwrap_or(failed))
        }
    }
}
