//! Templates: Jinja texts in which `secret("secret/app").password` stands for a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use secrecy::SecretString;

use crate::failure::Failure;
use crate::secret::SecretPath;
use crate::session::read_file;

/// The longest template: what is written by hand is far shorter.
const LONGEST_TEMPLATE: usize = 1 << 20;

/// How many steps a rendering takes at most, so that no loop keeps the agent from its other work.
const MOST_STEPS: u64 = 10_000_000;

/// The longest line of a template that an error repeats.
const LONGEST_QUOTE: usize = 200;

/// A template, read once: what is on disk later counts after a restart.
pub(crate) struct Template {
    file: PathBuf,
    text: String,
}

/// What a template asks for: a secret's data, of its newest version or of this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Query {
    pub path: SecretPath,
    pub version: Option<u64>,
}

/// What came of rendering with what is known.
pub(super) enum Rendered {
    Text(SecretString, BTreeSet<Query>),
    /// This has to be known first.
    Missing(Query),
}

/// What the template asked for so far.
#[derive(Default)]
struct Asked {
    found: BTreeSet<Query>,
    missing: Option<Query>,
}

// === impl Template ===

impl Template {
    pub fn read(file: PathBuf) -> Result<Self, Failure> {
        let text = read_file(&file, LONGEST_TEMPLATE)
            .map_err(|source| Failure::local(format!("template {} cannot be read", file.display()), source))?;
        Ok(Self { file, text })
    }

    pub fn name(&self) -> String {
        self.file.display().to_string()
    }

    /// Finds what is no template at all, before anything is asked of anybody.
    pub fn check(&self) -> Result<(), Failure> {
        let checked = environment().template_from_named_str(&self.name(), &self.text).map(drop);
        checked.map_err(|error| self.failure(&error))
    }

    pub(super) fn render(&self, known: &Arc<BTreeMap<Query, Value>>) -> Result<Rendered, Failure> {
        let mut environment = environment();
        let asked = Arc::new(Mutex::new(Asked::default()));
        environment.add_function("secret", answering(known.clone(), asked.clone()));
        let rendered = environment.render_named_str(&self.name(), &self.text, ()).map(SecretString::from);
        let asked = std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
        match (rendered, asked.missing) {
            (_, Some(missing)) => Ok(Rendered::Missing(missing)),
            (Ok(text), None) => Ok(Rendered::Text(text, asked.found)),
            (Err(error), None) => Err(self.failure(&error)),
        }
    }

    /// Says what is wrong and where. Only errors that speak of the template repeat anything: others may speak of values.
    fn failure(&self, error: &Error) -> Failure {
        let detail = error.detail().filter(|_| {
            matches!(
                error.kind(),
                ErrorKind::SyntaxError
                    | ErrorKind::UndefinedError
                    | ErrorKind::UnknownFunction
                    | ErrorKind::UnknownFilter
                    | ErrorKind::UnknownTest
                    | ErrorKind::UnknownMethod
                    | ErrorKind::MissingArgument
                    | ErrorKind::TooManyArguments
                    | ErrorKind::TemplateNotFound
            )
        });
        let mut reason = error.kind().to_string();
        if let Some(detail) = detail {
            reason += &format!(": {detail}");
        }
        let line = error.line().and_then(|line| self.text.lines().nth(line.checked_sub(1)?)).map(str::trim);
        if let Some(line) = line.filter(|line| (1..LONGEST_QUOTE).contains(&line.len())) {
            reason += &format!(", in: {line}");
        }
        Failure::OperationFailed {
            what: format!("template {}, line {},", self.file.display(), error.line().unwrap_or(0)),
            reason,
        }
    }
}

/// What templates see: the language and no more. They include nothing and read no variables of the environment.
fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the language's own delimiters differ from each other"));
    environment.set_formatter(print_value);
    environment.set_fuel(Some(MOST_STEPS));
    // Without it errors have no place; what it keeps of values is never printed.
    environment.set_debug(true);
    environment
}

/// Writes a value as configuration files have it: `true` and `null`, and not Python's `True` and `None`.
fn print_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => Ok(write!(out, "{}", if value.is_true() { "true" } else { "false" })?),
        ValueKind::None => Ok(write!(out, "null")?),
        _ => escape_formatter(out, state, value),
    }
}

/// The function `secret(path, version=N)`.
fn answering(
    known: Arc<BTreeMap<Query, Value>>,
    asked: Arc<Mutex<Asked>>,
) -> impl Fn(String, Kwargs) -> Result<Value, Error> {
    move |path, options| {
        let wrong = |rule: &str| Error::new(ErrorKind::MissingArgument, format!("secret({path:?}): {rule}"));
        let version = options.get::<Option<u64>>("version").map_err(|_| wrong("version is a number"))?;
        options.assert_all_used().map_err(|_| wrong("the only option is version"))?;
        let query = Query { path: path.parse().map_err(wrong)?, version };
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&query) {
            Some(data) => {
                asked.found.insert(query);
                Ok(data.clone())
            }
            None => {
                asked.missing = Some(query);
                Err(Error::new(ErrorKind::InvalidOperation, "it is not known yet"))
            }
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{} (version {version})", self.path),
            None => write!(f, "{}", self.path),
        }
    }
}

/// A JSON value as templates see it.
fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(members) => object(members),
    }
}

/// A JSON object as templates see it.
pub(super) fn object(members: &serde_json::Map<String, serde_json::Value>) -> Value {
    Value::from(members.iter().map(|(key, member)| (key.clone(), value(member))).collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests;
