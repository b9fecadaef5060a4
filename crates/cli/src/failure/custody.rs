//! What secret custody says where it refuses, and what to do about it.

use std::fmt;

use serde::Deserialize;

/// A refusal of `/v1`: `{"errors": [...]}` with a status.
#[derive(Debug)]
pub(crate) struct CustodyRefusal {
    /// What was asked for, without `/v1/`. Paths are names and no secrets.
    path: String,
    status: u16,
    errors: Vec<String>,
    /// What was there and is not any more.
    gone: Option<Gone>,
}

/// A version that was taken away.
#[derive(Debug, Deserialize)]
struct Gone {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl CustodyRefusal {
    pub fn new(path: &str, status: u16, errors: Vec<String>) -> Self {
        Self { path: path.to_owned(), status, errors, gone: None }
    }

    /// That a version is gone, as an answer tells which has its metadata and no values.
    pub fn gone(path: &str, answer: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            metadata: Gone,
        }
        let gone = serde_json::from_str::<Answer>(answer).ok()?.data.metadata;
        Some(Self { gone: Some(gone), ..Self::new(path, 404, Vec::new()) })
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether there is nothing there, and not that there is no engine for it.
    pub fn is_not_found(&self) -> bool {
        self.status == 404 && self.errors.is_empty() && self.gone.is_none()
    }

    pub fn is_denied(&self) -> bool {
        self.status == 403
    }

    fn says(&self, words: &str) -> bool {
        self.errors.iter().any(|error| error.to_ascii_lowercase().contains(words))
    }

    pub fn remedy(&self) -> Option<String> {
        let remedy = match self.status {
            _ if self.gone.as_ref().is_some_and(|gone| !gone.destroyed) => {
                "bring it back with `mainstay secret undelete`, or name another with --version"
            }
            _ if self.gone.is_some() => "see its other versions with `mainstay secret history`",
            503 if self.says("sealed") => {
                "see how it is with `mainstay custody status`; open it with `mainstay custody unseal`"
            }
            _ if self.says("not initialized") => "make its keys with `mainstay custody init`",
            400 if self.says("check-and-set") => {
                "somebody else wrote it meanwhile, or it needs --cas: see its versions with `mainstay secret history`"
            }
            403 if self.says("preflight") => {
                "begin the path with a mount, as secret/ is in secret/app, and use a token whose policies reach it"
            }
            403 => "use a token whose policies allow this path, with --token or MAINSTAY_TOKEN",
            404 if self.says("no handler") => {
                "look at the path: its first part is a mount, as secret/ is in secret/app"
            }
            404 => "see what there is with `mainstay secret list`",
            429 | 502..=504 => "try again in a moment",
            _ => return None,
        };
        Some(remedy.to_owned())
    }
}

impl fmt::Display for CustodyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.errors.iter().map(|error| error.trim()).filter(|error| !error.is_empty());
        let said = said.collect::<Vec<_>>().join("; ");
        let path = &self.path;
        match &self.gone {
            Some(gone) if gone.destroyed => return write!(f, "{path}: version {} was destroyed", gone.version),
            Some(gone) => return write!(f, "{path}: version {} was deleted at {}", gone.version, gone.deletion_time),
            None => {}
        }
        match (said.as_str(), self.status) {
            ("", 404) => write!(f, "{path}: there is nothing at this path"),
            ("", status) => write!(f, "{path}: custody refused with HTTP status {status}"),
            (said, _) => write!(f, "{path}: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CustodyRefusal;

    #[test]
    fn each_refusal_says_what_and_what_to_do() {
        let cases = [
            (403, &["permission denied"][..], "a/b: permission denied", "use a token"),
            (404, &[], "a/b: there is nothing at this path", "mainstay secret list"),
            (404, &["no handler for route \"a/b\""], "a/b: no handler for route \"a/b\"", "look at the path"),
            (503, &["Vault is sealed"], "a/b: Vault is sealed", "mainstay custody unseal"),
            (400, &["Vault is not initialized"], "a/b: Vault is not initialized", "mainstay custody init"),
            (400, &["check-and-set parameter did not match the current version"], "a/b: check-and-set", "history"),
            (500, &[], "a/b: custody refused with HTTP status 500", ""),
        ];
        for (status, errors, sentence, remedy) in cases {
            let refusal = CustodyRefusal::new("a/b", status, errors.iter().map(|&error| error.to_owned()).collect());
            assert!(refusal.to_string().starts_with(sentence), "{refusal}");
            assert!(refusal.remedy().unwrap_or_default().contains(remedy), "{refusal}: {:?}", refusal.remedy());
        }
    }

    #[test]
    fn of_a_version_that_is_gone_it_is_said_how_it_went() {
        let deleted = r#"{"data":{"data":null,"metadata":{"version":3,"deletion_time":"2020-01-01T00:00:00Z"}}}"#;
        let refusal = CustodyRefusal::gone("a/data/b", deleted).unwrap();
        assert_eq!(refusal.to_string(), "a/data/b: version 3 was deleted at 2020-01-01T00:00:00Z");
        assert!(!refusal.is_not_found() && refusal.remedy().unwrap().contains("undelete"));
        let destroyed = r#"{"data":{"data":null,"metadata":{"version":3,"deletion_time":"","destroyed":true}}}"#;
        assert!(CustodyRefusal::gone("a", destroyed).unwrap().to_string().ends_with("version 3 was destroyed"));
        assert!(CustodyRefusal::gone("a", "{}").is_none());
    }
}
