use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource::{RepositoryStatus, VerificationRun};
use crate::session::Session;

/// Often enough for a bar that moves, seldom enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the control plane may be away meanwhile. It does not take a verification up again that it was stopped in.
const ABSENCE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Repository {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the repository, its copies and its key, and what somebody should do
    Status,
    /// Make it this layer's own, though another layer keeps it, or another repository is there than before
    ///
    /// The other layer writes and removes nothing there any more. Where the place is empty a new repository is begun.
    TakeOver,
    /// Read all that it holds and name what a damaged file belongs to
    ///
    /// Exits with 1 where something is damaged.
    Verify {
        /// Read at most this many bytes per second, so that applications are not held up [default: as fast as it goes]
        #[arg(long, value_name = "BYTES")]
        rate: Option<u64>,
        /// Begin it and return at once
        #[arg(long, conflicts_with = "status")]
        no_wait: bool,
        /// Show the one that runs, or the last one, and begin none
        #[arg(long, conflicts_with = "rate")]
        status: bool,
    },
}

impl Repository {
    /// Does it. The number is the exit code: 1 where something is damaged.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        match self.action {
            action @ (Action::Status | Action::TakeOver) => {
                let answer = match action {
                    Action::TakeOver => session.client.post("/recovery/take-over", &[], &serde_json::json!({}))?,
                    _ => session.client.get("/recovery", &[])?,
                };
                let status: RepositoryStatus = output::read(&answer)?;
                print(session, &answer, &status.details())?;
                Ok(u8::from(!status.is_ready()))
            }
            Action::Verify { rate, no_wait, status } => {
                let path = "/recovery/verify";
                let answer = if status {
                    session.client.get(path, &[])?
                } else {
                    let body = serde_json::json!({ "rate_bytes_per_second": rate });
                    session.client.post(path, &[], &body)?
                };
                let answer = if no_wait || status { answer } else { follow(session, answer)? };
                let run: VerificationRun = output::read(&answer)?;
                print(session, &answer, &run.details())?;
                Ok(u8::from(run.found_damage()))
            }
        }
    }
}

fn print(session: &Session, answer: &str, details: &str) -> Result<(), Failure> {
    match session.format() {
        Format::Table => output::write(details),
        format => output::write(&output::document(answer, format)?),
    }
}

/// Follows the verification that runs until it ends, with a bar on a terminal.
fn follow(session: &Session, mut answer: String) -> Result<String, Failure> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("verify [{bar:30}] {bytes}/{total_bytes} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut seen = Instant::now();
    loop {
        let run: VerificationRun = output::read(&answer)?;
        if !run.is_running() {
            bar.finish_and_clear();
            return Ok(answer);
        }
        bar.set_length(run.total_bytes);
        bar.set_position(run.done_bytes);
        thread::sleep(PAUSE);
        match session.client.get("/recovery/verify", &[]) {
            Ok(newer) => (answer, seen) = (newer, Instant::now()),
            Err(failure) if failure.may_pass() && seen.elapsed() < ABSENCE => {}
            Err(failure) => return Err(failure),
        }
    }
}
