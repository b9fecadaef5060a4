//! One scrub at a time, and what is known of it for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_types::{Timestamp, chain};

use crate::objects::Objects;
use crate::scrub::{ScrubProgress, ScrubReport};

/// How often everything is read where nobody asks for it. Sooner than the bits of a sound disk are said to rot, and seldom
/// enough that reading a terabyte is a small part of what the disk does.
const EVERY_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// How fast that is done: a hundredth of what a disk gives, so that nobody notices.
const UNASKED_RATE: u64 = 32 << 20;
/// How often it is looked whether it is time.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Keeps account of scrubs.
#[async_trait]
pub trait ScrubLog: Send + Sync + 'static {
    /// When the last one came to its end.
    fn last(&self) -> Option<Timestamp>;

    /// Records what one found.
    async fn record(&self, report: &ScrubReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Scrubs the object store, when it is asked to and by itself.
#[derive(Clone)]
pub struct Scrubber {
    objects: Objects,
    log: Arc<dyn ScrubLog>,
    state: Arc<Mutex<ScrubRun>>,
}

/// The scrub that runs, or the last one of this process.
#[derive(Debug, Clone, Default)]
pub struct ScrubRun {
    pub started_at: Option<Timestamp>,
    /// None while it runs.
    pub finished_at: Option<Timestamp>,
    pub progress: ScrubProgress,
    /// Once it came to its end.
    pub report: Option<ScrubReport>,
    /// Why it did not.
    pub error: Option<String>,
}

// === impl Scrubber ===

impl Scrubber {
    pub fn new(objects: Objects, log: Arc<dyn ScrubLog>) -> Self {
        Self { objects, log, state: Arc::default() }
    }

    /// The scrub that runs, or the last one.
    pub fn latest(&self) -> ScrubRun {
        self.state().clone()
    }

    /// Begins a scrub in the background, at most so many bytes each second; where one runs, that one goes on.
    pub fn begin(&self, bytes_per_second: Option<u64>) {
        if let Some(turn) = self.take_turn() {
            let scrubber = self.clone();
            tokio::spawn(async move { scrubber.run(turn, bytes_per_second).await });
        }
    }

    /// Scrubs once a week for as long as it is polled. It can be dropped at any time.
    pub async fn scrub_on(&self) {
        loop {
            let due = self.log.last().is_none_or(|last| Timestamp::now().seconds_since(last) > EVERY_SECONDS);
            if due && let Some(turn) = self.take_turn() {
                self.run(turn, Some(UNASKED_RATE)).await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The right to scrub, where nobody else has it.
    fn take_turn(&self) -> Option<Turn> {
        let mut state = self.state();
        if state.is_running() {
            return None;
        }
        *state = ScrubRun { started_at: Some(Timestamp::now()), ..ScrubRun::default() };
        Some(Turn(self.state.clone()))
    }

    async fn run(&self, turn: Turn, bytes_per_second: Option<u64>) {
        let progress = |progress| self.state().progress = progress;
        let error = match self.objects.scrub(bytes_per_second, &progress).await {
            Ok(report) => {
                let recorded = self.recorded(&report).await;
                self.state().report = Some(report);
                recorded.err().map(|error| format!("what it found could not be recorded: {}", chain(&*error)))
            }
            Err(error) => Some(chain(&error)),
        };
        if let Some(error) = &error {
            tracing::error!(error, "a scrub of the object store did not come to its end");
        }
        self.state().error = error;
        drop(turn);
    }

    /// That there was nothing to read is no news.
    async fn recorded(&self, report: &ScrubReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if report.contents == 0 {
            return Ok(());
        }
        tell(report);
        self.log.record(report).await
    }

    fn state(&self) -> MutexGuard<'_, ScrubRun> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ScrubRun ===

impl ScrubRun {
    pub fn is_running(&self) -> bool {
        self.started_at.is_some() && self.finished_at.is_none()
    }
}

/// The right to scrub, given back when it is dropped, however the scrub ended.
struct Turn(Arc<Mutex<ScrubRun>>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.finished_at = Some(Timestamp::now());
        if state.report.is_none() && state.error.is_none() {
            state.error = Some("it was cut off".to_owned());
        }
    }
}

fn tell(report: &ScrubReport) {
    for damaged in &report.damaged {
        tracing::error!(address = %damaged.address, reason = damaged.reason, objects = damaged.touches.len(), "stored content is damaged");
    }
    tracing::info!(
        contents = report.contents,
        bytes = report.bytes,
        damaged = report.damaged.len(),
        "the object store was scrubbed"
    );
}
