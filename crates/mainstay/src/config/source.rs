//! From file, environment and command line to one raw value per key, with its origin.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Sources;
use super::key::{ENVIRONMENT_SEPARATOR, Key, SEPARATOR};
use super::mistake::{Mistake, Origin};

/// One raw value. Every one is held as a secret, because some are.
#[derive(Debug)]
pub(super) struct Setting {
    pub text: SecretString,
    pub origin: Origin,
}

/// The value that counts for each key that has one.
pub(super) type Settings = BTreeMap<Key, Setting>;

/// What `mainstay up` says where neither the file nor the environment does.
const ASSUMED_BY_UP: [(Key, &str); 2] = [(Key::RuntimeEnvironment, "development"), (Key::StorageDriver, "filesystem")];

/// Lays the sources over each other, the environment over the file, and notes what no key was found for.
pub(super) fn collect(sources: &Sources<'_>, mistakes: &mut Vec<Mistake>) -> Settings {
    let mut settings = Settings::new();
    if sources.overrides.up {
        let assumed = ASSUMED_BY_UP.map(|(key, text)| (key, Setting { text: text.into(), origin: Origin::Up }));
        settings.extend(assumed);
    }
    if let Some((path, text)) = sources.file {
        settings.extend(from_file(path, text, mistakes));
    }
    settings.extend(from_environment(sources.environment, mistakes));
    if let Some(repository) = &sources.overrides.repository {
        let setting = Setting { text: repository.as_str().into(), origin: Origin::Flag("--repository") };
        settings.insert(Key::RecoveryRepository, setting);
    }
    settings
}

// === The file ===

fn from_file(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Settings {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let mut layer = Layer::new(mistakes);
    match DeTable::parse(text) {
        Ok(table) => {
            let origin = |offset| Origin::File { path: path.to_owned(), line: line_of(offset) };
            walk(table.get_ref(), "", &origin, &mut layer);
        }
        // The error's own display would repeat the line, and with it a password.
        Err(error) => layer.mistakes.push(Mistake {
            subject: "the configuration file".to_owned(),
            problem: format!("is not TOML: {}", error.message().trim_end().replace('\n', "; ")),
            environment: None,
            accepted: "TOML 1.1, such as: [Storage] on one line and Driver = \"postgres\" on the next".to_owned(),
            origin: Some(Origin::File {
                path: path.to_owned(),
                line: line_of(error.span().map_or(0, |span| span.start)),
            }),
            remedy: "mend that line; text values stand in quotation marks".to_owned(),
        }),
    }
    layer.settings
}

fn walk(table: &DeTable<'_>, prefix: &str, origin: &dyn Fn(usize) -> Origin, layer: &mut Layer<'_>) {
    for (part, value) in table {
        let name = if prefix.is_empty() {
            part.get_ref().to_string()
        } else {
            format!("{prefix}{SEPARATOR}{}", part.get_ref())
        };
        let origin_here = origin(part.span().start);
        match text_of(value) {
            Value::Table(inner) => walk(inner, &name, origin, layer),
            Value::Text(text) => layer.add(&name, text, origin_here),
            Value::Unusable(kind) => layer.unusable(&name, kind, origin_here),
        }
    }
}

enum Value<'a> {
    Table(&'a DeTable<'a>),
    Text(String),
    Unusable(&'static str),
}

fn text_of<'a>(value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
    match value.get_ref() {
        DeValue::Table(table) => Value::Table(table),
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Text(number.to_string()),
        DeValue::Float(_) => Value::Unusable("a fraction"),
        DeValue::Boolean(_) => Value::Unusable("true or false"),
        DeValue::Datetime(_) => Value::Unusable("a date"),
        DeValue::Array(_) => Value::Unusable("a list"),
    }
}

// === The environment ===

fn from_environment(variables: &[(String, String)], mistakes: &mut Vec<Mistake>) -> Settings {
    let mut layer = Layer::new(mistakes);
    for (variable, text) in variables {
        let name = variable.replace(ENVIRONMENT_SEPARATOR, SEPARATOR);
        if Key::is_meant_by(&name) {
            layer.add(&name, text.clone(), Origin::Environment(variable.clone()));
        }
    }
    layer.settings
}

// === Layer ===

/// One source's values while they are gathered.
struct Layer<'a> {
    settings: Settings,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Layer<'a> {
    fn new(mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { settings: Settings::new(), mistakes }
    }

    fn add(&mut self, name: &str, text: String, origin: Origin) {
        let Some(key) = Key::find(name) else {
            self.mistakes.push(Mistake::unknown(name, origin));
            return;
        };
        if text.trim().is_empty() {
            let remedy = "give it a value or remove it: an empty one would hide what another source says";
            self.mistakes.push(Mistake::about(key, Some(origin), "is empty", remedy));
            return;
        }
        // Keys know no case, so that one source can name the same key twice.
        if let Some(other) = self.settings.get(&key).filter(|other| other.text.expose_secret() != text) {
            let problem = format!("has another value at {}", other.origin);
            self.mistakes.push(Mistake::about(key, Some(origin), problem, "keep one of the two"));
            return;
        }
        self.settings.insert(key, Setting { text: text.into(), origin });
    }

    fn unusable(&mut self, name: &str, kind: &str, origin: Origin) {
        self.mistakes.push(match Key::find(name) {
            Some(key) => Mistake::about(key, Some(origin), format!("is {kind}"), "write it as text in quotation marks"),
            None => Mistake::unknown(name, origin),
        });
    }
}
