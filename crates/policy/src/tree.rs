//! What HCL and JSON have in common once they are read.

use serde_json::Value;

/// How deep objects and lists may nest. A policy needs five levels; without a limit, a few kilobytes of brackets would
/// use up the stack.
pub(crate) const DEEPEST: usize = 32;

/// A value. Objects keep all their entries in order: HCL says a thing twice where JSON uses a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// Anything but a list or an object.
    Scalar(Value),
    List(Vec<Tree>),
    Object(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key is; none where the text is JSON.
    pub(crate) line: Option<usize>,
    pub(crate) value: Tree,
}

impl Tree {
    /// The objects that are meant: HCL's repeated blocks and JSON's list of objects are the same thing.
    pub(crate) fn objects(&self) -> Option<Vec<&[Entry]>> {
        match self {
            Self::Scalar(_) => None,
            Self::Object(entries) => Some(vec![entries]),
            Self::List(items) => items
                .iter()
                .map(|item| match item {
                    Self::Object(entries) => Some(entries.as_slice()),
                    Self::Scalar(_) | Self::List(_) => None,
                })
                .collect(),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list of texts.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        let Self::List(items) = self else { return None };
        items.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// The same as JSON, to be compared with what a request says.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}
