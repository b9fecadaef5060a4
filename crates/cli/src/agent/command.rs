//! The command that runs after a change.

use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::report::Report;

/// How long a command may take: it tells a program that its files changed, and is no program itself.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// The pause before a command that failed is tried again; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended(Option<ExitStatus>);

/// Runs a command after changes: one at a time, once for changes that come together, again where it failed.
pub(super) struct Follower {
    command: Option<String>,
    wanted: bool,
    running: Option<Running>,
    failures: u32,
    retry_at: Option<Instant>,
}

struct Running {
    group: Pid,
    until: Instant,
}

// === impl Follower ===

impl Follower {
    pub fn new(command: Option<String>) -> Self {
        Self { command, wanted: false, running: None, failures: 0, retry_at: None }
    }

    /// Something changed.
    pub fn want(&mut self) {
        self.wanted = self.command.is_some();
        self.retry_at = None;
    }

    /// Starts the command where it is its time. When it ends, that is told, from another thread.
    pub fn start_if_due(&mut self, now: Instant, tell: impl Fn(Ended) + Send + 'static, report: &mut Report) {
        let Some(line) = &self.command else { return };
        let due = self.wanted && self.running.is_none() && self.retry_at.is_none_or(|moment| moment <= now);
        if !due {
            return;
        }
        let mut command = Command::new("/bin/sh");
        // The token may do more than what the files are for. Of its own group, so that all of it can be ended.
        command.args(["-c", line]).env_remove("MAINSTAY_TOKEN").stdin(Stdio::null()).process_group(0);
        self.wanted = false;
        match command.spawn() {
            Ok(mut child) => {
                self.running = Some(Running { group: Pid::from_child(&child), until: now + LONGEST_RUN });
                thread::spawn(move || tell(Ended(child.wait().ok())));
            }
            Err(error) => self.failed(now, &error.to_string(), report),
        }
    }

    pub fn ended(&mut self, ended: Ended, now: Instant, report: &mut Report) {
        self.running = None;
        if ended.success() {
            self.failures = 0;
            report.info("command-done", &[]);
        } else {
            self.failed(now, &ended.to_string(), report);
        }
    }

    fn failed(&mut self, now: Instant, reason: &str, report: &mut Report) {
        self.failures = self.failures.saturating_add(1);
        let pause = retry_pause(self.failures);
        // What changed meanwhile counts at once.
        self.retry_at = (!self.wanted).then(|| now + pause);
        self.wanted = true;
        let seconds = pause.as_secs().to_string();
        report.warn("command-failed", &[("reason", reason), ("again_in_seconds", &seconds)]);
    }

    /// Kills a command that takes too long; its end is told as any other.
    pub fn end_overrun(&mut self, now: Instant, report: &mut Report) {
        if let Some(running) = self.running.as_mut().filter(|running| running.until <= now) {
            report.warn("command-takes-too-long", &[("seconds", &LONGEST_RUN.as_secs().to_string())]);
            // It fails only where the command has just ended.
            let _ = kill_process_group(running.group, Signal::KILL);
            running.until = now + LONGEST_RUN;
        }
    }

    /// How long a command may run on; nothing where none runs.
    pub fn running_for(&self, now: Instant) -> Option<Duration> {
        self.running.as_ref().map(|running| running.until.saturating_duration_since(now))
    }

    pub fn due(&self) -> Option<Instant> {
        match &self.running {
            Some(running) => Some(running.until),
            None => self.retry_at.filter(|_| self.wanted),
        }
    }

    /// The agent ends, and its command with it.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = kill_process_group(running.group, Signal::TERM);
        }
    }
}

fn retry_pause(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_RETRY)
}

// === impl Ended ===

impl Ended {
    pub fn success(self) -> bool {
        self.0.is_some_and(|status| status.success())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => write!(f, "it exited with {code}"),
            Some((_, Some(signal))) => write!(f, "signal {signal} ended it"),
            _ => write!(f, "it could not be waited for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::{Follower, retry_pause};
    use crate::agent::report::Report;

    #[test]
    fn a_command_that_failed_is_tried_less_and_less_often() {
        let seconds = [1, 2, 3, 7, 100].map(|failures| retry_pause(failures).as_secs());
        assert_eq!(seconds, [5, 10, 20, 300, 300]);
    }

    #[test]
    fn it_runs_after_a_change_and_again_where_it_failed() {
        let (sender, ends) = mpsc::channel();
        let (mut follower, mut report, begun) =
            (Follower::new(Some("exit 3".into())), Report::default(), Instant::now());
        let run = |follower: &mut Follower, report: &mut Report, now| {
            let sender = sender.clone();
            follower.start_if_due(now, move |ended| sender.send(ended).unwrap(), report);
            let wait = if follower.running_for(now).is_some() { Duration::from_secs(20) } else { Duration::ZERO };
            let ended = ends.recv_timeout(wait).ok();
            ended.inspect(|ended| follower.ended(*ended, now, report)).map(|ended| ended.to_string())
        };
        assert_eq!(run(&mut follower, &mut report, begun), None, "nothing changed");
        follower.want();
        assert_eq!(run(&mut follower, &mut report, begun).as_deref(), Some("it exited with 3"));
        assert_eq!(follower.due(), Some(begun + Duration::from_secs(5)));
        assert_eq!(run(&mut follower, &mut report, begun + Duration::from_secs(4)), None);
        assert!(run(&mut follower, &mut report, begun + Duration::from_secs(5)).is_some());
        assert_eq!(follower.due(), Some(begun + Duration::from_secs(15)));
        follower.want();
        follower.command = Some("exit 0".into());
        assert_eq!(
            run(&mut follower, &mut report, begun + Duration::from_secs(6)).as_deref(),
            Some("it exited with 0")
        );
        assert_eq!((follower.due(), run(&mut follower, &mut report, begun + Duration::from_secs(99))), (None, None));
    }
}
