use std::fmt;
use std::str::FromStr;

/// Where a secret is, with its mount: `secret/app`. It has no empty segment, no `.` and no `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SecretPath(String);

impl SecretPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretPath {
    type Err = &'static str;

    /// A slash at an end is taken off, as the Vault command line does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_matches('/');
        if path.is_empty() {
            return Err("write it with its mount, for example secret/app");
        }
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("no part of a path may be empty, '.' or '..'");
        }
        if path.chars().any(char::is_control) {
            return Err("a path has no control characters");
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::SecretPath;

    #[test]
    fn paths() {
        for (text, path) in [("secret/app", "secret/app"), ("/secret/a b/", "secret/a b"), ("kv", "kv")] {
            assert_eq!(text.parse::<SecretPath>().unwrap().as_str(), path);
        }
        for bad in ["", "/", "a//b", "a/../b", "./a", "a/..", "a\nb"] {
            assert!(bad.parse::<SecretPath>().is_err(), "{bad:?}");
        }
    }
}
