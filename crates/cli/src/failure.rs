//! Why a verb was not done, and how that is said.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::output;

mod custody;

pub(crate) use custody::CustodyRefusal;

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API refused.
    #[error("{}", .0.sentence())]
    Refused(Problem),
    /// Secret custody refused.
    #[error("{0}")]
    Custody(CustodyRefusal),
    /// Nobody listens at the address.
    #[error("nothing answers at {address}")]
    NotRunning { address: String },
    /// The API could not be reached, or the connection broke.
    #[error("the call to {address} failed")]
    Transport {
        address: String,
        #[source]
        source: ureq::Error,
    },
    /// The API took too long.
    #[error("{address} did not answer in time ({what})")]
    Timeout { address: String, what: String },
    /// Something answered that is not the API.
    #[error("{address} answered with something that is not Mainstay's API (HTTP status {status})")]
    NotTheApi { address: String, status: u16 },
    /// An answer of the API that this command line does not understand.
    #[error("the answer of the API is not understood")]
    NotUnderstood(#[source] serde_json::Error),
    /// Long work ended badly.
    #[error("{what} failed: {reason}")]
    OperationFailed { what: String, reason: String },
    /// Long work did not end in the time that this command line waits.
    #[error("{what} is still in progress after {minutes} minutes")]
    StillInProgress { what: String, minutes: u64, operation: String },
    #[error("no token was given, and {} cannot be read", .file.display())]
    NoToken {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold a token: {rule}", .file.display())]
    BadTokenFile { file: PathBuf, rule: &'static str },
    /// What was typed makes no sense; exit code 2.
    #[error("{sentence}")]
    Usage { sentence: String, remedy: Option<String> },
    /// Something on this machine went wrong.
    #[error("{what}")]
    Local {
        what: String,
        #[source]
        source: io::Error,
    },
    /// Many things, each said in a line of its own.
    #[error("{}", .0.join("\n"))]
    Many(Vec<String>),
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

/// What the API says of an error: problem details after RFC 9457.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: String,
    /// The member of the request that it is about.
    pub field: Option<String>,
    /// What to do next.
    pub remedy: Option<String>,
}

// === impl Failure ===

impl Failure {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage { sentence: sentence.into(), remedy: None }
    }

    pub fn local(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Local { what: what.into(), source: source.into() }
    }

    /// The exit code, where it is not that of the verb.
    pub fn exit_code(&self) -> Option<u8> {
        matches!(self, Self::Usage { .. }).then_some(2)
    }

    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the control plane may be back in a moment: it is being restarted.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Refused(problem) => is_passing(problem.status),
            Self::Custody(refusal) => is_passing(refusal.status()),
            _ => false,
        }
    }

    /// Says it on standard error: what happened to what and why, and what to do next.
    pub fn print(&self) {
        output::error(&self.chain(), self.remedy().as_deref());
    }

    /// What happened and why: the error and its causes.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused(problem) => problem.remedy.clone(),
            Self::Custody(refusal) => refusal.remedy(),
            Self::NotRunning { .. } => {
                Some("start the layer with `mainstay up`, or name its address with --address or MAINSTAY_ADDR".into())
            }
            Self::Timeout { .. } => Some("see how it is with `mainstay status`, and try again".into()),
            Self::NotTheApi { .. } => Some("name its address with --address or MAINSTAY_ADDR".into()),
            Self::NotUnderstood(_) => Some("use the `mainstay` that belongs to the running layer".into()),
            Self::StillInProgress { operation, .. } => {
                Some(format!("look again with `mainstay operations {operation}`"))
            }
            Self::NoToken { .. } => Some(
                "start the layer with `mainstay up`, name its data directory with --data-dir, or set MAINSTAY_TOKEN"
                    .into(),
            ),
            Self::BadTokenFile { .. } => Some("restart the layer, which writes it anew, or set MAINSTAY_TOKEN".into()),
            Self::Usage { remedy, .. } => remedy.clone(),
            Self::Transport { source, .. } if source.to_string().contains("certificate") => {
                Some("name the file with the certificates to trust, with --ca-cert or MAINSTAY_CACERT".into())
            }
            Self::Transport { .. }
            | Self::OperationFailed { .. }
            | Self::Local { .. }
            | Self::Many(_)
            | Self::Output(_) => None,
        }
    }
}

/// Whether a status says that the same request may succeed in a moment.
fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

// === impl Problem ===

impl Problem {
    /// What happened, in one sentence that names the member of the request where it does not yet.
    fn sentence(&self) -> String {
        let said = [&self.detail, &self.title].into_iter().find(|text| !text.is_empty());
        let sentence = match said {
            Some(text) => text.clone(),
            None => format!("the API refused with HTTP status {}", self.status),
        };
        match &self.field {
            Some(field) if !sentence.contains(field.as_str()) => format!("{field}: {sentence}"),
            _ => sentence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Problem};

    fn problem(json: &str) -> Failure {
        Failure::Refused(serde_json::from_str::<Problem>(json).unwrap())
    }

    #[test]
    fn a_problem_is_said_in_its_own_words() {
        let failure = problem(
            r#"{"type":"about:blank","title":"Not found","status":404,"detail":"instance \"shop\" does not exist",
                "code":"instance_not_found","remedy":"see `mainstay list`"}"#,
        );
        assert_eq!(failure.chain(), "instance \"shop\" does not exist");
        assert_eq!(failure.remedy().as_deref(), Some("see `mainstay list`"));
        assert_eq!(problem(r#"{"status":400,"detail":"must be text","field":"name"}"#).chain(), "name: must be text");
        assert_eq!(problem(r#"{"status":400,"detail":"name is bad","field":"name"}"#).chain(), "name is bad");
        assert_eq!(problem(r#"{"status":500}"#).chain(), "the API refused with HTTP status 500");
    }

    #[test]
    fn causes_are_said_once() {
        let failure = Failure::local("the file cannot be read", std::io::ErrorKind::NotFound);
        assert_eq!(failure.chain(), "the file cannot be read: entity not found");
    }

    #[test]
    fn wrong_usage_has_its_own_exit_code() {
        assert_eq!(Failure::usage("no").exit_code(), Some(2));
        assert_eq!(problem(r#"{"status":422}"#).exit_code(), None);
    }
}
