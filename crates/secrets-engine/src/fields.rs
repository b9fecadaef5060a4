//! Fields of a request, read as generously as Vault reads them: numbers may be text, durations `"1h"`, lists text with
//! commas.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The fields of one request. A field that is `null` is a field that is missing.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    data: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn new(data: &'a Map<String, Value>) -> Self {
        Self { data }
    }

    /// A field as it came.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.data.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(truth)) => Ok(Some(truth.to_string())),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    /// A text that has to be there and not empty.
    pub fn required(&self, name: &str) -> Result<String, Refusal> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| Refusal::Invalid(format!("missing {name}")))
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(Value::Number(number)) => Ok(Some(number.as_f64() != Some(0.0))),
            Some(Value::String(text)) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
                _ => Err(wrong(name, "a boolean")),
            },
            Some(_) => Err(wrong(name, "a boolean")),
        }
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(|| wrong(name, "an integer")),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong(name, "an integer")),
            Some(_) => Err(wrong(name, "an integer")),
        }
    }

    /// A count: an integer that is not negative.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let integer = self.integer(name)?;
        integer.map(|integer| u64::try_from(integer).map_err(|_| wrong(name, "not negative"))).transpose()
    }

    /// A duration in seconds: a number, or text like `90`, `90s`, `15m`, `1h30m`, `7d`.
    pub fn seconds(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let seconds = number.as_u64().or_else(|| number.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64));
                seconds.map(Some).ok_or_else(|| wrong(name, "a duration"))
            }
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => parse_duration(text).map(Some).ok_or_else(|| wrong(name, "a duration")),
            Some(_) => Err(wrong(name, "a duration")),
        }
    }

    /// A list of texts: an array, or text with commas between.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Some(parts.map(str::to_owned).collect()))
            }
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    Value::Number(number) => Ok(number.to_string()),
                    _ => Err(wrong(name, "a list of strings")),
                });
                texts.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong(name, "a list of strings")),
        }
    }

    /// A map of texts: an object whose values are texts, numbers or booleans; or a JSON object in a text.
    pub fn map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Refusal> {
        let parsed;
        let object = match self.get(name) {
            None => return Ok(None),
            Some(Value::Object(object)) => object,
            Some(Value::String(text)) => {
                parsed = serde_json::from_str::<Map<String, Value>>(text).map_err(|_| wrong(name, "an object"))?;
                &parsed
            }
            Some(_) => return Err(wrong(name, "an object")),
        };
        let entries = object.iter().map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Number(_) | Value::Bool(_) => Ok((key.clone(), value.to_string())),
            _ => Err(wrong(name, "an object of strings")),
        });
        entries.collect::<Result<_, _>>().map(Some)
    }

    /// Bytes in standard base64.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let text = self.text(name)?;
        text.map(|text| STANDARD.decode(text).map_err(|_| wrong(name, "base64"))).transpose()
    }
}

/// Go's durations as Vault takes them, to whole seconds, and plain seconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..unit].parse().ok()?;
        let after = rest[unit..].find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (name, next) = rest[unit..].split_at(after.unwrap_or(rest.len() - unit));
        seconds += number
            * match name {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = next;
    }
    Some(seconds as u64)
}

/// A duration as Go writes it, and with it Vault in its messages and some answers: `768h0m0s`.
pub fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn wrong(name: &str, wanted: &str) -> Refusal {
    Refusal::Invalid(format!("error converting input for field {name:?}: it has to be {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Fields, go_duration, parse_duration};

    #[test]
    fn durations_are_go_s_and_plain_seconds() {
        let table = [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("1.5h", 5400), ("0", 0)];
        for (text, seconds) in table {
            assert_eq!(parse_duration(text), Some(seconds), "{text}");
        }
        for text in ["-1", "1x", "h", "1h-", "1 h", "m5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let table = [(0, "0s"), (59, "59s"), (60, "1m0s"), (1800, "30m0s"), (12_319, "3h25m19s"), (90_000, "25h0m0s")];
        for (seconds, text) in table {
            assert_eq!(go_duration(seconds), text);
            assert_eq!(parse_duration(text), Some(seconds));
        }
    }

    #[test]
    fn what_means_the_same_reads_the_same() {
        let data = json!({
            "n": 5, "m": "5", "yes": true, "also": "true", "list": ["a", "b"], "commas": "a, b,", "none": null,
            "map": {"a": 1}, "text": "{\"a\":\"1\"}", "bytes": "AAE=",
        });
        let Value::Object(data): Value = data else { unreachable!() };
        let fields = Fields::new(&data);
        assert_eq!(fields.integer("n").unwrap(), fields.integer("m").unwrap());
        assert_eq!(fields.boolean("yes").unwrap(), fields.boolean("also").unwrap());
        assert_eq!(fields.list("list").unwrap(), fields.list("commas").unwrap());
        assert_eq!(fields.map("map").unwrap(), fields.map("text").unwrap());
        assert_eq!(fields.bytes("bytes").unwrap(), Some(vec![0, 1]));
        assert_eq!(fields.text("none").unwrap(), None);
        assert!(fields.required("none").is_err() && fields.integer("list").is_err() && fields.seconds("map").is_err());
        assert_eq!(Fields::new(&Map::new()).text("n").unwrap(), None);
    }
}
