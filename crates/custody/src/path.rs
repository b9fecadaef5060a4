//! Where a secret is kept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest path, in bytes: the Vault API that is to stand on this store promises its clients no more.
const LONGEST: usize = 512;

const RULE: &str = "use 1 to 512 bytes of segments joined by '/', each of lowercase letters, digits, '-', '_' and '.', \
                    none empty and none '.' or '..'";

/// Where a secret is kept: `binding/b-4k7zq2m9xw1c/1`.
///
/// There is one spelling of a path only (no upper case, no empty, `.` or `..` segment), so that what guards a
/// path guards every way to write it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath(Arc<str>);

/// The paths that [`Custody::list`](crate::Custody::list) is to name: all, or those below one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// Every path.
    Root,
    /// The paths of which this one is the beginning, up to a `/`. The path itself is not among them.
    Path(SecretPath),
}

/// Text that is no path of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret path {shown:?} is not valid: {RULE}")]
pub struct InvalidPath {
    shown: String,
}

/// How much of an invalid path its error repeats.
const ECHO_LIMIT: usize = 80;

// === impl SecretPath ===

impl SecretPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
        if text.len() <= LONGEST && text.split('/').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPath { shown: text.chars().take(ECHO_LIMIT).collect() })
        }
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::SecretPath;

    #[test]
    fn a_path_has_one_spelling() {
        for good in ["a", "binding/b-4k7z/1", "a.b/c_d", "...", "a/..b", &"x".repeat(512)] {
            assert_eq!(good.parse::<SecretPath>().unwrap().as_str(), good);
        }
        for bad in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.", "A", "a b", "ä", "a\0", "a%2fb", "a\\b"] {
            assert!(bad.parse::<SecretPath>().is_err(), "{bad:?} should be refused");
        }
        assert!("x".repeat(513).parse::<SecretPath>().is_err());
    }
}
