//! What is wrong with a configuration, said so that it can be put right in one go.

use std::fmt;
use std::path::PathBuf;

use super::key::Key;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    File { path: PathBuf, line: usize },
    /// The environment variable of this name.
    Environment(String),
    /// `mainstay up` says so itself, where nobody else does.
    Up,
    /// A flag of the command line.
    Flag(&'static str),
}

/// One mistake, with all that is needed to put it right. It holds no value that could be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key, or what stands where a key should be.
    pub subject: String,
    /// What is wrong with it, as the rest of a sentence that begins with the subject.
    pub problem: String,
    /// The environment variable that sets the key; none where the subject is no key.
    pub environment: Option<String>,
    /// What would be right.
    pub accepted: String,
    /// Where the mistake stands; none where something is missing.
    pub origin: Option<Origin>,
    /// What to do.
    pub remedy: String,
}

/// Every mistake of a configuration. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Mistake>);

/// The longest text from outside that a message repeats: enough to find it, too little to flood a terminal.
const ECHO_LIMIT: usize = 60;

// === impl Mistake ===

impl Mistake {
    pub(super) fn about(
        key: Key,
        origin: Option<Origin>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject: key.name().to_owned(),
            problem: problem.into(),
            environment: Some(key.environment()),
            accepted: key.accepted().to_owned(),
            origin,
            remedy: remedy.into(),
        }
    }

    pub(super) fn unknown(name: &str, origin: Origin) -> Self {
        let nearest = Key::nearest(name);
        Self {
            subject: printable(name),
            problem: "is not a key of Mainstay".to_owned(),
            environment: None,
            accepted: Key::neighbours(name),
            remedy: match nearest {
                Some(key) => format!("did you mean {} ({})? otherwise remove it", key.name(), key.environment()),
                None => "remove it; docs/configuration.md lists every key".to_owned(),
            },
            origin: Some(origin),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.problem)?;
        if let Some(origin) = &self.origin {
            write!(f, "\n   source:      {origin}")?;
        }
        write!(f, "\n   accepted:    {}", self.accepted)?;
        if let Some(environment) = &self.environment {
            write!(f, "\n   environment: {environment}")?;
        }
        write!(f, "\n   remedy:      {}", self.remedy)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {}", printable(name)),
            Origin::Up => f.write_str("assumed by `mainstay up`"),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

// === impl ConfigErrors ===

impl ConfigErrors {
    /// The stable code of this error, as `docs/errors.md` lists it.
    pub const CODE: &'static str = "configuration_invalid";

    pub(super) fn check(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self(mistakes)) }
    }

    /// The mistakes, in the order in which they were met.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, noun) = (self.0.len(), if self.0.len() == 1 { "mistake" } else { "mistakes" });
        write!(f, "the configuration has {count} {noun} ({})", Self::CODE)?;
        for (number, mistake) in self.0.iter().enumerate() {
            write!(f, "\n{}. {mistake}", number + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Text from outside that is no value, made safe to print: cut, and without what would steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let cut: String = text.chars().take(ECHO_LIMIT).collect();
    let rest = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{rest}", cut.escape_debug())
}

/// How a message names a value: its text where it is a plain word, address or path, and nothing of it where it
/// could be a connection string that was written under the wrong key.
pub(super) fn echo(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,".contains(c);
    if value.chars().all(plain) && !value.contains(":/") && value.len() <= ECHO_LIMIT {
        format!("\"{value}\"")
    } else {
        "a value that is not repeated here".to_owned()
    }
}
