//! What people write down beside a secret, and what fits there.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Fields, Refusal};
use serde_json::{Map, Value};

/// Vault's limits. Custom metadata is read and written with each version.
const MOST_KEYS: usize = 64;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 512;

/// A change of the custom metadata.
pub(super) enum Custom {
    /// These are all.
    Replace(Map<String, Value>),
    /// These are changed; `null` removes one.
    Merge(Map<String, Value>),
}

/// Reads the field, where there is one.
pub(super) fn read_custom(
    fields: Fields<'_>,
    change: fn(Map<String, Value>) -> Custom,
) -> Result<Option<Custom>, Refusal> {
    match fields.get("custom_metadata") {
        None => Ok(None),
        Some(Value::Object(entries)) => Ok(Some(change(entries.clone()))),
        Some(_) => {
            Err(Refusal::invalid("error converting input for field \"custom_metadata\": it has to be an object"))
        }
    }
}

impl Custom {
    /// Changes what there is. Where something does not fit, the whole change is refused.
    pub(super) fn apply(&self, custom: &mut BTreeMap<String, String>) -> Result<(), Refusal> {
        let changed = match self {
            Self::Replace(entries) => entries.iter().map(text).collect::<Result<_, _>>()?,
            Self::Merge(entries) => {
                let mut changed = custom.clone();
                for entry in entries {
                    if entry.1.is_null() {
                        changed.remove(entry.0);
                    } else {
                        let (key, value) = text(entry)?;
                        changed.insert(key, value);
                    }
                }
                changed
            }
        };
        check(&changed)?;
        *custom = changed;
        Ok(())
    }
}

/// A value as text. Vault takes numbers and truths too.
fn text((key, value): (&String, &Value)) -> Result<(String, String), Refusal> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Null => String::new(),
        Value::Array(_) | Value::Object(_) => {
            let message = format!("custom_metadata validation failed: the value of key {key:?} has to be a string");
            return Err(Refusal::Invalid(message));
        }
    };
    Ok((key.clone(), text))
}

/// Refuses what does not fit, naming all of it.
fn check(custom: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if custom.len() > MOST_KEYS {
        let provided = custom.len();
        return Err(refused(&[format!("payload must contain at most {MOST_KEYS} keys, provided {provided}")]));
    }
    let mut problems = Vec::new();
    for (key, value) in custom {
        let (key_length, length) = (key.len(), value.len());
        if key_length == 0 || key_length > LONGEST_KEY {
            problems.push(format!("length of key {key:?} is {key_length} but must be 0 < len(key) <= {LONGEST_KEY}"));
        }
        if length == 0 || length > LONGEST_VALUE {
            problems.push(format!(
                "length of value for key {key:?} is {length} but must be 0 < len(value) <= {LONGEST_VALUE}"
            ));
        }
        if !is_printable(key) {
            problems.push(format!("key {key:?} ({key}) contains unprintable characters"));
        }
        if !is_printable(value) {
            problems.push(format!("value for key {key:?} contains unprintable characters"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(refused(&problems)) }
}

/// The form in which Vault lists mistakes.
fn refused(problems: &[String]) -> Refusal {
    let count = match problems.len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let points: String =
        problems.iter().map(|problem| format!("\t* custom_metadata validation failed: {problem}\n")).collect();
    Refusal::Invalid(format!("{count} occurred:\n{points}\n"))
}

/// Whether a text shows itself: no control or format characters, and no white space but the blank.
fn is_printable(text: &str) -> bool {
    text.chars().all(|letter| {
        let is_hidden = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        letter == ' ' || !(letter.is_control() || letter.is_whitespace() || is_hidden)
    })
}
