//! Statements on a connection, and what SQLite's errors mean.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi};

use crate::driver::Service;
use crate::error::{Fault, FaultKind, ReadError, WriteError};
use crate::statement::{Action, Statement};
use crate::value::{Row, Value};

/// One transaction.
pub(crate) fn write(service: Service, connection: &Connection, statements: &[Statement]) -> Result<(), WriteError> {
    let result = begin_and_run(service, connection, statements).and_then(|()| commit(service, connection));
    // SQLite rolls back by itself after some errors, for example a full disk, and not after others.
    if result.is_err()
        && !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%service, %error, "a transaction could not be rolled back");
    }
    result
}

fn begin_and_run(service: Service, connection: &Connection, statements: &[Statement]) -> Result<(), WriteError> {
    run(connection, "BEGIN IMMEDIATE").map_err(|fault| fault.on_write(service, 0))?;
    for (index, statement) in statements.iter().enumerate() {
        let found = execute(connection, &statement.action).map_err(|fault| fault.on_write(service, index))?;
        if let Some(expected) = statement.expect
            && expected != found
        {
            return Err(WriteError::ExpectationNotMet { statement: index, expected, found });
        }
    }
    Ok(())
}

/// Where the write-ahead log was written but could not be synced, recovery after a crash may still find the commit.
fn commit(service: Service, connection: &Connection) -> Result<(), WriteError> {
    run(connection, "COMMIT").map_err(|fault| match fault.kind {
        FaultKind::Unavailable => WriteError::OutcomeUnknown { service, source: fault.cause },
        _ => fault.on_write(service, 0),
    })
}

fn run(connection: &Connection, sql: &str) -> Result<(), Fault> {
    connection.prepare_cached(sql)?.raw_execute()?;
    Ok(())
}

fn execute(connection: &Connection, action: &Action) -> Result<u64, Fault> {
    match action {
        Action::Run { sql, parameters } => {
            let mut statement = connection.prepare_cached(sql)?;
            bind(&mut statement, parameters)?;
            Ok(statement.raw_execute()? as u64)
        }
        Action::Insert { table, columns, rows, conflict } => insert(connection, table, columns, rows, conflict),
    }
}

fn insert(
    connection: &Connection,
    table: &str,
    columns: &[&str],
    rows: &[Vec<Value>],
    conflict: &str,
) -> Result<u64, Fault> {
    let places = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES ({places}) {conflict}", columns.join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut inserted = 0;
    for row in rows {
        for (value, place) in row.iter().zip(1..) {
            statement.raw_bind_parameter(place, value)?;
        }
        inserted += statement.raw_execute()? as u64;
    }
    Ok(inserted)
}

/// A question.
pub(crate) fn read(service: Service, connection: &Connection, statement: &Statement) -> Result<Vec<Row>, ReadError> {
    query(connection, &statement.action).map_err(|fault| fault.on_read(service))
}

fn query(connection: &Connection, action: &Action) -> Result<Vec<Row>, Fault> {
    let Action::Run { sql, parameters } = action else { return Err(changes_something()) };
    let mut statement = connection.prepare_cached(sql)?;
    if !statement.readonly() {
        return Err(changes_something());
    }
    let columns = statement.column_count();
    bind(&mut statement, parameters)?;
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| value(row.get_ref(column)?)).collect::<Result<_, Fault>>()?;
        found.push(Row::new(values));
    }
    Ok(found)
}

/// SQLite numbers `$2` by where it first appears; the contract, like PostgreSQL, by its number.
fn bind(statement: &mut rusqlite::Statement<'_>, parameters: &[Value]) -> Result<(), Fault> {
    for (parameter, number) in parameters.iter().zip(1..) {
        let Some(place) = statement.parameter_index(&format!("${number}"))? else {
            return Err(Fault::new(FaultKind::Other, format!("there is no place ${number}")));
        };
        statement.raw_bind_parameter(place, parameter)?;
    }
    Ok(())
}

fn value(value: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(error) => return Err(Fault::new(FaultKind::Corrupt, error)),
        },
        ValueRef::Real(_) => return Err(Fault::new(FaultKind::Other, "a column holds a floating-point number")),
    })
}

fn changes_something() -> Fault {
    Fault::new(FaultKind::Other, "the statement would change something; hand it to write")
}

/// Moves what the write-ahead log holds into the file, so that a copy of the file alone is whole.
pub(crate) fn close(service: Service, connection: Connection) {
    let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%service, %error, "the storage was not closed cleanly; the next start repairs it");
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error() {
            // The index of the write-ahead log grows through shared memory, which has an error of its own.
            Some(inner) if inner.extended_code == ffi::SQLITE_IOERR_SHMSIZE => FaultKind::Full,
            Some(inner) => match inner.code {
                ErrorCode::DiskFull => FaultKind::Full,
                ErrorCode::ConstraintViolation => FaultKind::Constraint,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => FaultKind::Corrupt,
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory => FaultKind::Unavailable,
                _ => FaultKind::Other,
            },
            None => FaultKind::Other,
        };
        Self::new(kind, error)
    }
}
