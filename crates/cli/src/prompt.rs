//! Questions to the person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;

use crate::failure::Failure;
use crate::output;

/// The longest text that is read from standard input or a file: custody takes no larger secret.
pub(crate) const LONGEST_TEXT: u64 = 1 << 20;

/// Asks whether something that cannot be undone is meant; where nobody can be asked, nobody can have meant it.
pub(crate) fn confirmed(consequence: &str, name: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage {
            sentence: format!("{consequence}, and nobody can be asked"),
            remedy: Some("say --yes".to_owned()),
        });
    }
    output::message(&format!("{consequence}. Type its name, {name}, to go on:"));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(|error| Failure::local("the answer cannot be read", error))?;
    Ok(typed.trim() == name)
}

/// Reads a line that the terminal does not show, or where standard input is no terminal all of it, unchanged.
pub(crate) fn secret(question: &str) -> Result<SecretString, Failure> {
    ask_secret(question).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::usage("nothing was typed"),
        _ => Failure::local("standard input cannot be read", error),
    })
}

/// The same, for those who are not asked by a verb of this crate. Where nothing was typed, the end came unexpectedly.
pub fn ask_secret(question: &str) -> io::Result<SecretString> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        let _shown_again = Hidden::new()?;
        output::message(question);
        if io::stdin().lock().take(LONGEST_TEXT).read_line(&mut text)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was typed"));
        }
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    } else {
        io::stdin().lock().take(LONGEST_TEXT + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST_TEXT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "there is more than custody takes"));
        }
    }
    Ok(SecretString::from(text))
}

/// While this lives the terminal does not show what is typed.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Self> {
        let terminal = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The line's end is shown, so that what is said next begins a line of its own.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyhow.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
