//! How far a snapshot has come.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A count of bytes on standard error, where that is a terminal; it is gone when this is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of a length, where it is known.
    pub fn new(verb: &str, length: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let template = match length {
            Some(_) => "{prefix} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}",
            None => "{prefix} {bytes}, {bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(verb.to_owned());
        Self(bar)
    }

    pub fn show(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
