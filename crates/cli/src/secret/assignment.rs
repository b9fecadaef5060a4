//! What a secret is to hold, as it is typed: `k=v`, `k=@file`, `k=-`, `@file.json`, `-`.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::prompt;
use crate::session::read_file;

/// One argument. Its value may be a secret, so that nothing prints it.
#[derive(Clone)]
pub(crate) enum Assignment {
    /// One key.
    Key(String, Source),
    /// A whole JSON object.
    Whole(Source),
}

/// Where a value comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Typed(SecretString),
    File(PathBuf),
    StandardInput,
}

/// Reads what assignments name; the tests' is a table.
pub(crate) trait Inputs {
    fn file(&self, file: &std::path::Path) -> Result<SecretString, Failure>;
    /// The question is for the person at a terminal.
    fn standard_input(&self, question: &str) -> Result<SecretString, Failure>;
}

/// The files and the standard input of this process.
pub(crate) struct Surroundings;

// === impl Assignment ===

impl FromStr for Assignment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" || text.starts_with('@') {
            return Ok(Self::Whole(Source::parse(text)?));
        }
        match text.split_once('=') {
            Some(("", _)) => Err("the key before '=' is missing"),
            Some((key, value)) => Ok(Self::Key(key.to_owned(), Source::parse(value)?)),
            None => Err("write KEY=VALUE, KEY=@FILE, KEY=-, @FILE.json or -"),
        }
    }
}

impl Assignment {
    fn source(&self) -> &Source {
        match self {
            Self::Key(_, source) | Self::Whole(source) => source,
        }
    }
}

// === impl Source ===

impl Source {
    /// `\@` stands for an `@` that names no file, as in Vault.
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "-" => Ok(Self::StandardInput),
            "@" => Err("name the file after '@'"),
            _ => Ok(match (text.strip_prefix('@'), text.strip_prefix('\\')) {
                (Some(file), _) => Self::File(file.into()),
                (None, Some(rest)) if rest.starts_with('@') => Self::Typed(rest.into()),
                _ => Self::Typed(text.into()),
            }),
        }
    }

    fn read(&self, question: &str, inputs: &impl Inputs) -> Result<SecretString, Failure> {
        match self {
            Self::Typed(text) => Ok(text.clone()),
            Self::File(file) => inputs.file(file),
            Self::StandardInput => inputs.standard_input(question),
        }
    }
}

// === impl Surroundings ===

impl Inputs for Surroundings {
    fn file(&self, file: &std::path::Path) -> Result<SecretString, Failure> {
        read_file(file, prompt::LONGEST_TEXT as usize).map(SecretString::from).map_err(|source| {
            let hint = if source.kind() == std::io::ErrorKind::InvalidData {
                " (values are text: encode other bytes, for example with base64)"
            } else {
                ""
            };
            Failure::local(format!("{} cannot be read{hint}", file.display()), source)
        })
    }

    fn standard_input(&self, question: &str) -> Result<SecretString, Failure> {
        prompt::secret(question)
    }
}

/// What all assignments together say. Files and standard input are taken as they are, with a newline at their end.
pub(crate) fn assigned(assignments: &[Assignment], inputs: &impl Inputs) -> Result<Map<String, Value>, Failure> {
    let from_input = assignments.iter().filter(|one| matches!(one.source(), Source::StandardInput)).count();
    if from_input > 1 {
        return Err(Failure::usage("standard input can be read only once; name files for the other values"));
    }
    let mut data = Map::new();
    for assignment in assignments {
        match assignment {
            Assignment::Key(key, source) => {
                let value = source.read(&format!("The value of {key} (it is not shown):"), inputs)?;
                add(&mut data, key.clone(), value.expose_secret().into())?;
            }
            Assignment::Whole(source) => {
                let text = source.read("A JSON object in one line (it is not shown):", inputs)?;
                for (key, value) in object(source, text.expose_secret())? {
                    add(&mut data, key, value)?;
                }
            }
        }
    }
    Ok(data)
}

fn add(data: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Failure> {
    if data.contains_key(&key) {
        return Err(Failure::usage(format!("{key} is given twice")));
    }
    data.insert(key, value);
    Ok(())
}

/// Reads a JSON object; an error says where it ends to be one, and repeats nothing of it.
fn object(source: &Source, text: &str) -> Result<Map<String, Value>, Failure> {
    let name = match source {
        Source::File(file) => file.display().to_string(),
        Source::StandardInput | Source::Typed(_) => "standard input".to_owned(),
    };
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::Usage {
            sentence: format!("{name} holds no JSON object ({place})"),
            remedy: Some("for a single value write KEY=@FILE or KEY=-".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::SecretString;

    use super::{Assignment, Inputs, assigned};
    use crate::failure::Failure;

    struct Table;

    impl Inputs for Table {
        fn file(&self, file: &Path) -> Result<SecretString, Failure> {
            match file.to_str().unwrap() {
                "pem" => Ok("-----BEGIN\n".into()),
                "whole.json" => Ok(r#"{"n": 7, "list": ["x"], "s": "t"}"#.into()),
                _ => Err(Failure::usage("no such file")),
            }
        }

        fn standard_input(&self, _: &str) -> Result<SecretString, Failure> {
            Ok("from input\n".into())
        }
    }

    fn check(arguments: &[&str]) -> Result<String, String> {
        let assignments: Result<Vec<Assignment>, _> = arguments.iter().map(|text| text.parse()).collect();
        let data = assigned(&assignments?, &Table).map_err(|failure| failure.to_string())?;
        Ok(serde_json::to_string(&data).unwrap())
    }

    #[test]
    fn what_is_typed_becomes_an_object() {
        for (arguments, object) in [
            (&["a=b", "c="][..], r#"{"a":"b","c":""}"#),
            (&["url=postgresql://u:p@h/d?x=1"], r#"{"url":"postgresql://u:p@h/d?x=1"}"#),
            (&["n=7", "t=true"], r#"{"n":"7","t":"true"}"#),
            (&["key=@pem"], r#"{"key":"-----BEGIN\n"}"#),
            (&["p=-", "a=b"], r#"{"a":"b","p":"from input\n"}"#),
            (&[r"at=\@home", r"b=\n"], r#"{"at":"@home","b":"\\n"}"#),
            (&["@whole.json", "more=1"], r#"{"list":["x"],"more":"1","n":7,"s":"t"}"#),
        ] {
            assert_eq!(check(arguments).as_deref(), Ok(object), "{arguments:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_repeated() {
        for arguments in [
            &["hunter2"][..],
            &["=hunter2"],
            &["a=1", "a=hunter2"],
            &["@"],
            &["a=@"],
            &["a=-", "b=-"],
            &["@pem"],
            &["-"],
        ] {
            let error = check(arguments).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains("BEGIN"), "{error}");
        }
    }
}
