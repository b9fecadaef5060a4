//! Names of policies.

use std::fmt;

/// How long a name may be, in bytes: it is a part of a storage path and of every token that has the policy.
const LONGEST: usize = 256;

/// The name of a policy: in lower case, without blanks around it, of ASCII letters, digits and `_ - . / : @ +`.
///
/// Names that look alike are the same name, or no names: nobody gets past the rules for `root` with `ROOT`, ` root`,
/// or letters of another script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Box<str>);

/// Why a text is not the name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("policy name missing")]
    Empty,
    #[error("the policy name has {length} bytes and may have {LONGEST}")]
    TooLong { length: usize },
    #[error("the policy name holds {letter:?}; it may hold ASCII letters, digits and _ - . / : @ +")]
    Letter { letter: char },
    #[error("the policy name {name:?} has an empty segment, or one that is . or ..")]
    Segment { name: String },
}

/// A policy is part of how custody works.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Protected {
    #[error("cannot update \"{name}\" policy")]
    Update { name: PolicyName },
    #[error("cannot delete \"{name}\" policy")]
    Delete { name: PolicyName },
    #[error("cannot delete default policy")]
    DeleteDefault,
}

impl PolicyName {
    /// The policy of those who may do everything. It has no text.
    pub const ROOT: &'static str = "root";
    /// What every token may do, unless it was made without.
    pub const DEFAULT: &'static str = "default";
    /// What a wrapping token may do. Custody gives it; nobody else can.
    pub const RESPONSE_WRAPPING: &'static str = "response-wrapping";

    /// Reads a name as Vault does, in any case and with blanks around it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let name = text.trim_matches([' ', '\t', '\r', '\n']).to_ascii_lowercase();
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > LONGEST {
            return Err(InvalidName::TooLong { length: name.len() });
        }
        let is_fit = |letter: &char| letter.is_ascii_alphanumeric() || "_-./:@+".contains(*letter);
        if let Some(letter) = name.chars().find(|letter| !is_fit(letter)) {
            return Err(InvalidName::Letter { letter });
        }
        if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(InvalidName::Segment { name });
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        &*self.0 == Self::ROOT
    }

    /// Whether people may give a token this policy.
    pub fn is_assignable(&self) -> bool {
        &*self.0 != Self::RESPONSE_WRAPPING
    }

    /// Whether the policy may be written.
    pub fn check_update(&self) -> Result<(), Protected> {
        match &*self.0 {
            Self::ROOT | Self::RESPONSE_WRAPPING => Err(Protected::Update { name: self.clone() }),
            _ => Ok(()),
        }
    }

    /// Whether the policy may be removed. Those that come with a namespace may be changed but stay.
    pub fn check_delete(&self) -> Result<(), Protected> {
        match &*self.0 {
            Self::DEFAULT => Err(Protected::DeleteDefault),
            Self::ROOT => Err(Protected::Delete { name: self.clone() }),
            name if crate::BUILT_IN.iter().any(|(built_in, _)| *built_in == name) => {
                Err(Protected::Delete { name: self.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidName, PolicyName};

    #[test]
    fn names_that_look_like_root_are_root_or_nothing() {
        for text in ["root", "ROOT", "Root", " root", "root\n", "\troot "] {
            let name = PolicyName::parse(text).unwrap();
            assert!(name.is_root(), "{text:?}");
            assert_eq!(name.check_update().unwrap_err().to_string(), "cannot update \"root\" policy");
            assert_eq!(name.check_delete().unwrap_err().to_string(), "cannot delete \"root\" policy");
        }
        // A cyrillic o, a zero-width space, a no-break space, full-width letters, a NUL, a dotless i's relatives.
        for text in ["r\u{43e}ot", "root\u{200b}", "\u{a0}root", "\u{ff52}oot", "root\0", "ro ot", "root,", "%72oot"] {
            assert!(matches!(PolicyName::parse(text), Err(InvalidName::Letter { .. })), "{text:?}");
        }
        for text in ["/root", "root/", "./root", "a/../root", "..", "a//b"] {
            assert!(matches!(PolicyName::parse(text), Err(InvalidName::Segment { .. })), "{text:?}");
        }
        assert_eq!(PolicyName::parse("  "), Err(InvalidName::Empty));
        assert!(PolicyName::parse(&"a".repeat(257)).is_err());
    }

    #[test]
    fn what_comes_with_a_namespace_stays() {
        let name = |text| PolicyName::parse(text).unwrap();
        assert_eq!(name("Default").check_delete().unwrap_err().to_string(), "cannot delete default policy");
        assert!(name("default").check_update().is_ok() && name("admin").check_update().is_ok());
        assert!(name("response-wrapping").check_update().is_err() && !name("Response-Wrapping").is_assignable());
        for built_in in ["admin", "operator", "viewer", "response-wrapping"] {
            assert!(name(built_in).check_delete().is_err(), "{built_in}");
        }
        for own in ["team/app-1", "a.b_c:d@e", "administrator"] {
            assert!(name(own).check_update().is_ok() && name(own).check_delete().is_ok(), "{own}");
        }
    }
}
