//! `mainstay doctor`: what this machine has and lacks, each with its remedy.
//!
//! Facts are gathered in one place and judged in another, so that every judgement is a pure function with a table of
//! tests, and nothing here changes the machine.

use std::fmt;
use std::sync::Arc;

use mainstay_engine::Engine;
use serde::Serialize;

use crate::config::{Config, LoadError};

mod facts;
mod judge;
mod layer;
mod repository;

/// What was found, in the order in which a person would look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub checks: Vec<Check>,
}

/// One question to the machine, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub state: State,
    /// What was found, as one line wherever that is possible.
    pub detail: String,
    /// What to do; present where the state is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How well the machine answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// The layer runs, and will not run well.
    Warning,
    /// The layer does not start, or loses something.
    Failed,
}

/// Looks at the machine as this configuration would use it, with the engines that it would run.
///
/// Where the configuration is wrong, that is a check like any other, and what depends on it is left out. Facts are
/// gathered by blocking calls, some seconds at most: a command that ends with its report has nothing else to do.
pub async fn examine(config: Result<&Config, &LoadError>, engines: &[Arc<dyn Engine>]) -> Report {
    let mut checks = vec![judge::configuration(config)];
    checks.extend(judge::machine(&facts::Machine::gather()));
    if let Ok(config) = config {
        checks.extend(judge::place(&facts::Place::gather(config)));
        checks.extend(repository::judge(&repository::Repository::gather(config)));
        checks.extend(judge::ports(&layer::Ports::gather(config)));
    }
    for engine in engines {
        checks.push(judge::engine(engine.offering().engine.as_str(), &engine.availability().await));
    }
    Report { checks }
}

// === impl Report ===

impl Report {
    /// The exit code of `mainstay doctor`: 0 when nothing failed, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.checks.iter().any(|check| check.state == State::Failed))
    }
}

impl fmt::Display for Report {
    /// The table for people: state, name, detail, and the remedy on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let indented = |text: &str, indent: usize| text.replace('\n', &format!("\n{:indent$}", ""));
        let column = "warning".len() + 2 + width + 2;
        for check in &self.checks {
            let detail = indented(&check.detail, column);
            writeln!(f, "{:<7}  {:<width$}  {detail}", check.state.as_str(), check.name)?;
            if let Some(remedy) = &check.remedy {
                writeln!(f, "{:column$}-> {}", "", indented(remedy, column + 3))?;
            }
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        let (ok, warnings, failed) = (count(State::Ok), count(State::Warning), count(State::Failed));
        write!(f, "{ok} ok, {warnings} warning, {failed} failed")
    }
}

// === impl State ===

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
        }
    }
}

// === impl Check ===

impl Check {
    fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Ok, detail: detail.into(), remedy: None }
    }

    fn warning(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Warning, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn failed(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Failed, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Report};

    #[test]
    fn a_report_reads_as_a_table_and_as_json() {
        let mut report =
            Report { checks: vec![Check::ok("memory", "8 GiB"), Check::warning("clock", "a\nb", "mend it")] };
        assert_eq!(report.exit_code(), 0);
        report.checks.push(Check::failed("disk", "full", "make room"));
        assert_eq!(report.exit_code(), 1);
        assert_eq!(
            report.to_string(),
            "ok       memory  8 GiB\n\
             warning  clock   a\n                 b\n                 -> mend it\n\
             failed   disk    full\n                 -> make room\n\
             1 ok, 1 warning, 1 failed"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"][0], serde_json::json!({"name": "memory", "state": "ok", "detail": "8 GiB"}));
        assert_eq!(json["checks"][2]["remedy"], "make room");
    }
}
