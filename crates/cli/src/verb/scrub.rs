use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource::ScrubRun;
use crate::session::Session;

/// Often enough for a bar that moves, seldom enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the control plane may be away meanwhile. It does not take a scrub up again that it was stopped in.
const ABSENCE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Scrub {
    /// Read at most this many bytes per second, so that applications are not held up [default: as fast as it goes]
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
    /// Begin it and return at once
    #[arg(long, conflicts_with = "status")]
    no_wait: bool,
    /// Show the one that runs, or the last one, and begin none
    #[arg(long, conflicts_with = "rate")]
    status: bool,
}

impl Scrub {
    /// Does it. The number is the exit code: 1 where something is damaged.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        let answer = if self.status {
            session.client.get("/scrub", &[])?
        } else {
            let body = serde_json::json!({ "rate_bytes_per_second": self.rate });
            session.client.post("/scrub", &[], &body)?
        };
        let answer = if self.no_wait || self.status { answer } else { follow(session, answer)? };
        let run: ScrubRun = output::read(&answer)?;
        match session.format() {
            Format::Table => output::write(&run.details())?,
            format => output::write(&output::document(&answer, format)?)?,
        }
        Ok(u8::from(run.found_damage()))
    }
}

/// Follows the scrub that runs until it ends, with a bar on a terminal.
fn follow(session: &Session, mut answer: String) -> Result<String, Failure> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("scrub [{bar:30}] {pos}/{len} contents {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut seen = Instant::now();
    loop {
        let run: ScrubRun = output::read(&answer)?;
        if !run.is_running() {
            bar.finish_and_clear();
            return Ok(answer);
        }
        bar.set_length(run.contents_total);
        bar.set_position(run.contents_done);
        thread::sleep(PAUSE);
        match session.client.get("/scrub", &[]) {
            Ok(newer) => (answer, seen) = (newer, Instant::now()),
            Err(failure) if failure.may_pass() && seen.elapsed() < ABSENCE => {}
            Err(failure) => return Err(failure),
        }
    }
}
