//! `--secret PATH[=PREFIX]`: the keys of a secret as variables.

use std::collections::BTreeMap;
use std::str::FromStr;

use secrecy::SecretString;

use crate::delivery::variable_name;
use crate::failure::Failure;
use crate::secret::{Secret, SecretPath, text};

/// Variables that decide what code runs. Whoever may write a secret does not get to choose that of its readers.
const REFUSED: [&str; 3] = ["PATH", "IFS", "ENV"];
const REFUSED_BEGINNINGS: [&str; 2] = ["LD_", "BASH_"];

/// A secret, and what its variables begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub path: SecretPath,
    prefix: Option<String>,
}

/// Variables by name, each with the secret that it is of.
#[derive(Default)]
pub(super) struct Granted(BTreeMap<String, (SecretPath, SecretString)>);

impl FromStr for Grant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, prefix) = match text.rsplit_once('=') {
            Some((path, prefix)) => (path, Some(prefix)),
            None => (text, None),
        };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if prefix.is_some_and(|prefix| !prefix.bytes().all(letter)) {
            return Err("a prefix has letters, digits and '_' only");
        }
        let prefix = prefix.map(|prefix| prefix.trim_end_matches('_')).filter(|prefix| !prefix.is_empty());
        Ok(Self { path: path.parse()?, prefix: prefix.map(str::to_owned) })
    }
}

impl Granted {
    /// Adds the keys of a secret. Two that would be the same variable are a mistake, and not one of them is dropped.
    pub fn add(&mut self, grant: &Grant, secret: &Secret) -> Result<(), Failure> {
        for (key, value) in &secret.data {
            let name = variable_name(grant.prefix.as_deref(), key);
            let other = Some("give one of the secrets a prefix: --secret PATH=PREFIX".to_owned());
            let decides =
                REFUSED.contains(&name.as_str()) || REFUSED_BEGINNINGS.iter().any(|begin| name.starts_with(begin));
            if decides {
                let sentence = format!("key {key} of {} would set {name}, which decides what code runs", grant.path);
                return Err(Failure::Usage { sentence, remedy: other });
            }
            let value = text(value);
            if value.contains('\0') {
                return Err(Failure::usage(format!("key {key} of {} has a NUL, which no variable can", grant.path)));
            }
            let before = self.0.insert(name.clone(), (grant.path.clone(), value.into()));
            if let Some((path, _)) = before {
                let sentence = format!("{name} would come from {path} and from key {key} of {}", grant.path);
                return Err(Failure::Usage { sentence, remedy: other });
            }
        }
        Ok(())
    }

    pub fn into_variables(self) -> impl Iterator<Item = (String, SecretString)> {
        self.0.into_iter().map(|(name, (_, value))| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::{Grant, Granted};
    use crate::secret::Secret;

    fn check(grants: &[(&str, serde_json::Value)]) -> Result<String, String> {
        let mut granted = Granted::default();
        for (grant, data) in grants {
            let grant: Grant = grant.parse().map_err(str::to_owned)?;
            let data = data.as_object().unwrap().clone();
            granted.add(&grant, &Secret { data, version: None, lease: None }).map_err(|failure| failure.to_string())?;
        }
        let lines = granted.into_variables().map(|(name, value)| format!("{name}={}", value.expose_secret()));
        Ok(lines.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn keys_become_variables() {
        for (grant, data, expected) in [
            ("secret/app", json!({"db-password": "x", "port": 5432}), "DB_PASSWORD=x PORT=5432"),
            ("secret/app=APP", json!({"password": "x"}), "APP_PASSWORD=x"),
            ("secret/app=app_", json!({"pass": "x"}), "APP_PASS=x"),
            ("secret/a=b=", json!({"list": ["x"]}), "LIST=[\"x\"]"),
        ] {
            assert_eq!(check(&[(grant, data)]).as_deref(), Ok(expected), "{grant}");
        }
    }

    #[test]
    fn what_would_be_lost_or_run_code_is_refused() {
        let one = |data| check(&[("secret/app", data)]).unwrap_err();
        assert!(one(json!({"path": "/evil"})).contains("would set PATH"));
        assert!(one(json!({"ld.preload": "/evil.so"})).contains("would set LD_PRELOAD"));
        assert!(one(json!({"a-b": "hunter2", "a.b": "hunter2"})).contains("A_B would come from secret/app"));
        assert!(!one(json!({"a": "hunter2\0"})).contains("hunter2"));
        let two = check(&[("a/x", json!({"k": "1"})), ("a/y", json!({"k": "2"}))]).unwrap_err();
        assert_eq!(two, "K would come from a/x and from key k of a/y");
        assert!(check(&[("a/x", json!({"k": "1"})), ("a/y=Y", json!({"k": "2"}))]).is_ok());
        for bad in ["", "a=b-c", "a//b", "=X"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad:?}");
        }
    }
}
