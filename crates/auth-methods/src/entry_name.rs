//! Names of roles and users.

use std::fmt;

/// The longest name, in bytes: a name is a part of a path, and nobody types more.
const LONGEST: usize = 512;

/// The name of a role or a user, in lower case: there is one spelling of it only, as in Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryName(String);

impl EntryName {
    /// A name from a path: letters, digits and `_`, and `-` and `.` between them. `None` where there is no such path.
    pub fn in_path(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
        let inside = bytes.iter().all(|&byte| word(byte) || byte == b'-' || byte == b'.');
        (ends && inside && text.len() <= LONGEST).then(|| Self(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::EntryName;

    #[test]
    fn a_name_has_one_spelling() {
        for (text, name) in [("a", "a"), ("Web-App.1", "web-app.1"), ("_x_", "_x_"), ("A", "a")] {
            assert_eq!(EntryName::in_path(text).unwrap().as_str(), name);
        }
        for text in ["", "-a", "a-", ".", "..", "a b", "a@b", "ä", "a/b", "a\0b", "K\u{212a}", &"x".repeat(513)] {
            assert_eq!(EntryName::in_path(text), None, "{text:?}");
        }
    }
}
