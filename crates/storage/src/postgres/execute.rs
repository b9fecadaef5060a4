//! Statements on a connection.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo};
use sqlx::{AssertSqlSafe, Column, Encode, PgConnection, Postgres, Row as _, Type, TypeInfo};

use crate::driver::Service;
use crate::error::{Fault, FaultKind, WriteError};
use crate::statement::{Action, Statement};
use crate::value::{Row, Value};

/// Rows of one insert. Each column travels as one array: this many amortise the round trip and stay small in memory.
const ROWS_PER_INSERT: usize = 1000;

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// How a transaction ended that was not stored.
pub(crate) enum Failure {
    /// The server refused it, and the connection is well.
    Refused(WriteError),
    /// Another transaction was in the way; it can be run again.
    InTheWay,
    /// The connection broke.
    Lost(WriteError),
}

/// One transaction.
pub(crate) async fn transaction(
    service: Service,
    connection: &mut PgConnection,
    statements: &[Statement],
) -> Result<(), Failure> {
    if let Err(failure) = begin_and_run(service, connection, statements).await {
        return match failure {
            Failure::Lost(error) => Err(Failure::Lost(error)),
            failure => match sqlx::raw_sql("ROLLBACK").execute(connection).await {
                Ok(_) => Err(failure),
                Err(error) => Err(Failure::Lost(Fault::from(error).on_write(service, 0))),
            },
        };
    }
    sqlx::raw_sql("COMMIT").execute(connection).await.map(drop).map_err(|error| {
        let fault = Fault::from(error);
        match fault.kind {
            FaultKind::Serialization => Failure::InTheWay,
            // Where the server says nothing more, it may have committed all the same.
            FaultKind::Unavailable => Failure::Lost(WriteError::OutcomeUnknown { service, source: fault.cause }),
            _ => Failure::Refused(fault.on_write(service, 0)),
        }
    })
}

async fn begin_and_run(
    service: Service,
    connection: &mut PgConnection,
    statements: &[Statement],
) -> Result<(), Failure> {
    let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL SERIALIZABLE").execute(&mut *connection).await;
    begin.map_err(|error| Failure::Lost(Fault::from(error).on_write(service, 0)))?;
    for (index, statement) in statements.iter().enumerate() {
        let found = execute(connection, &statement.action).await.map_err(|fault| match fault.kind {
            FaultKind::Serialization => Failure::InTheWay,
            FaultKind::Unavailable => Failure::Lost(fault.on_write(service, index)),
            _ => Failure::Refused(fault.on_write(service, index)),
        })?;
        if let Some(expected) = statement.expect
            && expected != found
        {
            return Err(Failure::Refused(WriteError::ExpectationNotMet { statement: index, expected, found }));
        }
    }
    Ok(())
}

async fn execute(connection: &mut PgConnection, action: &Action) -> Result<u64, Fault> {
    match action {
        Action::Run { sql, parameters } => {
            Ok(bind(sqlx::query(*sql), parameters).execute(connection).await?.rows_affected())
        }
        Action::Insert { table, columns, rows, conflict } => {
            let mut inserted = 0;
            for rows in rows.chunks(ROWS_PER_INSERT) {
                inserted += insert(connection, table, columns, rows, conflict).await?;
            }
            Ok(inserted)
        }
    }
}

/// One statement for all rows: each column is an array, and a column of nulls alone is written as `NULL`.
async fn insert(
    connection: &mut PgConnection,
    table: &str,
    columns: &[&str],
    rows: &[Vec<Value>],
    conflict: &str,
) -> Result<u64, Fault> {
    let arrays = (0..columns.len()).map(|column| array(rows, column)).collect::<Result<Vec<_>, Fault>>()?;
    let (mut picked, mut places, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for array in &arrays {
        match array.type_name() {
            None => picked.push("NULL".to_owned()),
            Some(type_name) => {
                let number = places.len() + 1;
                picked.push(format!("c{number}"));
                places.push(format!("${number}::{type_name}[]"));
                names.push(format!("c{number}"));
            }
        }
    }
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM unnest({}) AS r ({}) {conflict}",
        columns.join(", "),
        picked.join(", "),
        places.join(", "),
        names.join(", ")
    );
    // Table, columns and conflict are static text of a service, as the type of `Statement::insert` ensures.
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = arrays.into_iter().fold(query, |query, array| match array {
        Array::Nulls => query,
        Array::Integers(values) => query.bind(values),
        Array::Texts(values) => query.bind(values),
        Array::Blobs(values) => query.bind(values),
    });
    Ok(query.execute(connection).await?.rows_affected())
}

/// A column of several rows.
enum Array<'a> {
    Nulls,
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
    Blobs(Vec<Option<&'a [u8]>>),
}

impl Array<'_> {
    fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Nulls => None,
            Self::Integers(_) => Some("bigint"),
            Self::Texts(_) => Some("text"),
            Self::Blobs(_) => Some("bytea"),
        }
    }
}

fn array(rows: &[Vec<Value>], column: usize) -> Result<Array<'_>, Fault> {
    let values = rows.iter().map(|row| &row[column]);
    let mixed = || Fault::new(FaultKind::Other, format!("column {column} of an insert mixes types"));
    let array = match values.clone().find(|value| **value != Value::Null) {
        None | Some(Value::Null) => Some(Array::Nulls),
        Some(Value::Integer(_)) => values
            .map(|value| match value {
                Value::Null => Some(None),
                Value::Integer(integer) => Some(Some(*integer)),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Array::Integers),
        Some(Value::Text(_)) => values
            .map(|value| match value {
                Value::Null => Some(None),
                Value::Text(text) => Some(Some(text.as_str())),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Array::Texts),
        Some(Value::Blob(_)) => values
            .map(|value| match value {
                Value::Null => Some(None),
                Value::Blob(bytes) => Some(Some(bytes.as_slice())),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Array::Blobs),
    };
    array.ok_or_else(mixed)
}

/// A question.
pub(crate) async fn query(connection: &mut PgConnection, statement: &Statement) -> Result<Vec<Row>, Fault> {
    let Action::Run { sql, parameters } = &statement.action else {
        return Err(Fault::new(FaultKind::Other, "an insert answers nothing; hand it to write"));
    };
    let rows = bind(sqlx::query(*sql), parameters).fetch_all(connection).await?;
    rows.iter().map(row).collect()
}

fn bind<'q>(query: Query<'q>, parameters: &'q [Value]) -> Query<'q> {
    parameters.iter().fold(query, |query, parameter| match parameter {
        Value::Null => query.bind(UntypedNull),
        Value::Integer(integer) => query.bind(*integer),
        Value::Text(text) => query.bind(text.as_str()),
        Value::Blob(bytes) => query.bind(bytes.as_slice()),
    })
}

fn row(row: &PgRow) -> Result<Row, Fault> {
    let value = |column: &sqlx::postgres::PgColumn| -> Result<Value, Fault> {
        let index = column.ordinal();
        Ok(match column.type_info().name() {
            "INT8" => row.try_get::<Option<i64>, _>(index)?.into(),
            "INT4" => row.try_get::<Option<i32>, _>(index)?.map(i64::from).into(),
            "TEXT" => row.try_get::<Option<String>, _>(index)?.into(),
            "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(index)?.into(),
            other => {
                let reason = format!("column {} has the type {other}; cast it to bigint or text", column.name());
                return Err(Fault::new(FaultKind::Other, reason));
            }
        })
    };
    Ok(Row::new(row.columns().iter().map(value).collect::<Result<_, _>>()?))
}

/// A null whose type the server infers from where it stands.
struct UntypedNull;

impl Type<Postgres> for UntypedNull {
    /// The pseudo-type `unknown` (pg_type.dat), which the server takes as "not said".
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(705))
    }
}

impl Encode<'_, Postgres> for UntypedNull {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}
