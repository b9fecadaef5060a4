//! What goes into a statement and what comes out of one.

use crate::error::{ReadError, boxed};

/// One value of a row or parameter.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Integer(i64),
    /// Text without NUL characters, which PostgreSQL cannot store.
    Text(String),
    Blob(Vec<u8>),
}

/// One row of an answer, its columns in the order of the statement.
#[derive(Clone, PartialEq, Eq)]
pub struct Row(Vec<Value>);

// === impl Value ===

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "text",
            Self::Blob(_) => "a blob",
        }
    }
}

/// Contents stay out of debug output: a store keeps sealed secrets, and logs are read by others.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Integer(integer) => write!(f, "Integer({integer})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Blob(bytes) => write!(f, "Blob({} bytes)", bytes.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<u32> for Value {
    fn from(integer: u32) -> Self {
        Self::Integer(integer.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

// === impl Row ===

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The integer in a column, counted from 0.
    pub fn integer(&self, column: usize) -> Result<i64, ReadError> {
        match self.0.get(column) {
            Some(Value::Integer(integer)) => Ok(*integer),
            other => Err(unexpected(column, "an integer", other)),
        }
    }

    /// The text in a column, counted from 0.
    pub fn text(&self, column: usize) -> Result<&str, ReadError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            other => Err(unexpected(column, "text", other)),
        }
    }

    /// The blob in a column, counted from 0.
    pub fn blob(&self, column: usize) -> Result<&[u8], ReadError> {
        match self.0.get(column) {
            Some(Value::Blob(bytes)) => Ok(bytes),
            other => Err(unexpected(column, "a blob", other)),
        }
    }

    /// Whether a column, counted from 0, is null.
    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Value::Null))
    }

    /// All values, for a caller that takes them over without a copy.
    pub fn into_values(self) -> Vec<Value> {
        self.0
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

fn unexpected(column: usize, expected: &str, found: Option<&Value>) -> ReadError {
    let found = found.map_or("nothing", Value::kind);
    ReadError::Other { source: boxed(format!("column {column} should hold {expected} and holds {found}")) }
}

#[cfg(test)]
mod tests {
    use super::{Row, Value};

    #[test]
    fn getters_refuse_another_type() {
        let row = Row::new(vec![1i64.into(), "one".into(), vec![1u8].into(), Value::Null]);
        assert_eq!(row.integer(0).unwrap(), 1);
        assert_eq!(row.text(1).unwrap(), "one");
        assert_eq!(row.blob(2).unwrap(), [1]);
        assert!(row.is_null(3) && !row.is_null(4));
        assert!(row.integer(1).is_err() && row.text(2).is_err() && row.blob(3).is_err() && row.integer(4).is_err());
    }

    #[test]
    fn debug_output_does_not_tell_contents() {
        let row = Row::new(vec!["hunter2".into(), b"hunter2".as_slice().into()]);
        assert_eq!(format!("{row:?}"), "[Text(7 bytes), Blob(7 bytes)]");
    }
}
