//! The command itself: started, sent the signals that were meant for it, waited for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::failure::Failure;
use crate::output;

/// The signals that would end this process before it has cleaned up, or that a command may use for itself.
const FORWARDED: [(i32, Signal); 6] = [
    (SIGHUP, Signal::HUP),
    (SIGINT, Signal::INT),
    (SIGQUIT, Signal::QUIT),
    (SIGTERM, Signal::TERM),
    (SIGUSR1, Signal::USR1),
    (SIGUSR2, Signal::USR2),
];

pub(super) type Signals = SignalsInfo<WithOrigin>;

/// A command and what it gets.
pub(super) struct Command(process::Command);

/// From now on signals wait for the command instead of ending this process.
pub(super) fn catch_signals() -> Result<Signals, Failure> {
    SignalsInfo::new(FORWARDED.map(|(number, _)| number))
        .map_err(|error| Failure::local("signals cannot be caught", error))
}

impl Command {
    pub fn new(program: OsString, arguments: Vec<OsString>) -> Self {
        let mut command = process::Command::new(program);
        // The token may do far more than the credentials that the command is given.
        command.args(arguments).env_remove("MAINSTAY_TOKEN");
        Self(command)
    }

    pub fn set(&mut self, name: String, value: impl AsRef<OsStr>) {
        self.0.env(name, value);
    }

    /// Runs the command to its end. The number is the exit code that a shell would give it.
    pub fn run(mut self, mut signals: Signals) -> Result<u8, Failure> {
        let mut child = match self.0.spawn() {
            Ok(child) => child,
            Err(error) => {
                output::error(&format!("{} cannot be run: {error}", self.0.get_program().to_string_lossy()), None);
                return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
            }
        };
        let handle = Pid::from_child(&child);
        let handle = pidfd_open(handle, PidfdFlags::empty())
            .map_err(|error| Failure::local("the command cannot be watched", error))?;
        let stop = signals.handle();
        let status = thread::scope(|scope| {
            scope.spawn(move || forward(&mut signals, handle));
            let status = child.wait();
            stop.close();
            status
        });
        let status = status.map_err(|error| Failure::local("the command cannot be waited for", error))?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(u8::try_from(code).unwrap_or(1))
    }
}

/// Sends on what was sent to this process alone. What the terminal sends, as on Ctrl-C, it has sent to the command
/// too; twice would be once more than the user pressed.
fn forward(signals: &mut Signals, command: OwnedFd) {
    for origin in signals.forever() {
        let signal = FORWARDED.iter().find(|(number, _)| *number == origin.signal);
        if let Some((_, signal)) = signal.filter(|_| is_sent(&origin)) {
            // It fails only where the command has ended, which is waited for elsewhere.
            let _ = pidfd_send_signal(command.as_fd(), *signal);
        }
    }
}

fn is_sent(origin: &Origin) -> bool {
    matches!(origin.cause, Cause::Sent(_))
}
