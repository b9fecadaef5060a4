//! Statements: portable SQL with its parameters and its expectation.

use crate::value::Value;

/// One step of a transaction, or a question.
///
/// The text is static, so that nothing from outside can become part of it.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) action: Action,
    pub(crate) expect: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Run {
        sql: &'static str,
        parameters: Vec<Value>,
    },
    Insert {
        table: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
        /// What follows the values: nothing, or what is done where a row is there already.
        conflict: &'static str,
    },
}

impl Statement {
    /// A statement with `$1`, `$2`, ... for its parameters.
    pub fn new(sql: &'static str, parameters: impl Into<Vec<Value>>) -> Self {
        Self { action: Action::Run { sql, parameters: parameters.into() }, expect: None }
    }

    /// An insert of many rows into a table, as fast as the driver can.
    ///
    /// Each row has one value for each column, and all values of a column are of one type or null.
    pub fn insert(table: &'static str, columns: &'static [&'static str], rows: Vec<Vec<Value>>) -> Self {
        Self::insert_or(table, columns, rows, "")
    }

    /// Such an insert which says what becomes of rows that are there already, for example
    /// `ON CONFLICT (id) DO UPDATE SET label = excluded.label`. No two rows are for the same place.
    pub fn insert_or(
        table: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
        conflict: &'static str,
    ) -> Self {
        Self { action: Action::Insert { table, columns, rows, conflict }, expect: None }
    }

    /// Says how many rows the statement must touch. Where it touches another number, the transaction is rolled back.
    pub fn expect(mut self, rows: u64) -> Self {
        self.expect = Some(rows);
        self
    }

    /// Checks what the databases would treat differently.
    pub(crate) fn check(&self) -> Result<(), String> {
        let values: Box<dyn Iterator<Item = &Value>> = match &self.action {
            Action::Run { sql, parameters } => {
                if places(sql) != parameters.len() {
                    return Err(format!("{} parameters for {} places", parameters.len(), places(sql)));
                }
                Box::new(parameters.iter())
            }
            Action::Insert { table, columns, rows, .. } => {
                if rows.iter().any(|row| row.len() != columns.len()) {
                    return Err(format!("a row for table {table} has not {} values", columns.len()));
                }
                Box::new(rows.iter().flatten())
            }
        };
        for value in values {
            if matches!(value, Value::Text(text) if text.contains('\0')) {
                return Err("a text parameter contains a NUL character, which PostgreSQL cannot store; \
                            refuse it at the edge or store a blob"
                    .to_owned());
            }
        }
        Ok(())
    }
}

/// How many parameters a text asks for: its highest `$n`.
fn places(sql: &str) -> usize {
    let numbers = sql.split('$').skip(1).map(|rest| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().unwrap_or(0)
    });
    numbers.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn places_are_counted_by_their_number() {
        for (sql, count) in [("", 0), ("a = $1", 1), ("$2, $1, $2", 2), ("($10)", 10), ("'$' $", 0)] {
            assert_eq!(places(sql), count, "{sql}");
        }
    }
}
