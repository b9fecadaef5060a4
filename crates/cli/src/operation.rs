//! Long work, followed until it ends.

use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crate::resource::{Operation, OperationState};

/// How long a request for work blocks before progress is shown: most work is done by then.
pub(crate) const WAIT: &str = "1s";

/// Often enough for a bar that moves, seldom enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// How long one operation is followed. The longest, a dedicated cluster on a slow disk, takes a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long the control plane may be away meanwhile: the work goes on when it is back.
const ABSENCE: Duration = Duration::from_secs(30);

/// Follows an operation from what the request for it answered until it ends, with a bar on a terminal. Answers what came of
/// it, where that needs saying.
pub(crate) fn follow(client: &Client, what: &str, answer: &str) -> Result<Option<String>, Failure> {
    if answer.is_empty() {
        // There was nothing to do, as where what is to be removed is gone already.
        return Ok(None);
    }
    let mut operation: Operation = output::read(answer)?;
    let begun = Instant::now();
    let mut seen = begun;
    let bar = Bar::new(what);
    loop {
        match operation.state {
            OperationState::Succeeded => return Ok(operation.detail),
            OperationState::Failed => {
                let reason = operation.error.map_or_else(|| "no reason was given".to_owned(), |error| error.detail);
                return Err(Failure::OperationFailed { what: what.to_owned(), reason });
            }
            OperationState::InProgress if begun.elapsed() > PATIENCE => return Err(out_of_patience(what, operation)),
            OperationState::InProgress => bar.show(&operation),
        }
        thread::sleep(PAUSE);
        match client.get(&format!("/operations/{}", operation.id), &[]) {
            Ok(answer) => {
                operation = output::read(&answer)?;
                seen = Instant::now();
            }
            Err(failure) if failure.may_pass() && seen.elapsed() < ABSENCE => bar.absent(),
            Err(failure) => return Err(failure),
        }
    }
}

/// What to say of an operation that this command line waits for no longer.
pub(crate) fn still_in_progress(what: &str, answer: &str) -> Result<Failure, Failure> {
    output::read(answer).map(|operation| out_of_patience(what, operation))
}

fn out_of_patience(what: &str, operation: Operation) -> Failure {
    Failure::StillInProgress { what: what.to_owned(), minutes: PATIENCE.as_secs() / 60, operation: operation.id }
}

/// A bar on standard error, where that is a terminal; it is gone when it is dropped.
struct Bar(ProgressBar);

impl Bar {
    fn new(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos:>3}% {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    fn show(&self, operation: &Operation) {
        self.0.set_position(operation.progress.min(100));
        self.0.set_message(operation.now().unwrap_or_default());
    }

    fn absent(&self) {
        self.0.set_message("waiting for the control plane to come back");
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
