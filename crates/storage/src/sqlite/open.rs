//! Opening a file or memory, its settings, and its schema.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use mainstay_types::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::driver::Service;
use crate::error::{Fault, FaultKind, OpenError};
use crate::migration::{Applied, Migration, digest, pending};

/// How long a connection waits for a lock. Within one process the single writer never meets one; this is for an
/// operator's `sqlite3` on the same file, and for a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection keeps prepared: more than any service has.
const PREPARED_STATEMENTS: usize = 128;

/// What a write-ahead log is cut back to after a checkpoint, so that one burst does not hold disk space for ever.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// A store in memory.
pub(crate) fn memory(service: Service, schema: &[Migration]) -> Result<Connection, OpenError> {
    let refuse = |fault: Fault| fault.on_open(service, "memory");
    let connection = Connection::open_in_memory().map_err(|error| refuse(error.into()))?;
    configure(&connection).map_err(refuse)?;
    migrate(&connection, service, "memory", schema)?;
    Ok(connection)
}

/// A store in a file, and its connection that writes.
pub(crate) fn file(path: &Path, service: Service, schema: &[Migration]) -> Result<Connection, OpenError> {
    let place = path.display().to_string();
    let refuse = |fault: Fault| fault.on_open(service, &place);
    create(path).map_err(|error| refuse(Fault::new(FaultKind::Unavailable, error)))?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(refuse)?;
    keep_a_log(&connection).map_err(refuse)?;
    migrate(&connection, service, &place, schema)?;
    Ok(connection)
}

/// Another connection to a file, which only reads.
pub(crate) fn reader(path: &Path, service: Service) -> Result<Connection, OpenError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| {
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        })
        .map_err(|fault| fault.on_open(service, &path.display().to_string()))
}

/// Makes an empty file that only its owner can read, durably; SQLite gives its log and index the same mode.
fn create(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure(&connection)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), Fault> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF",
    )?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    Ok(())
}

/// With a write-ahead log a commit is one fsync, and readers do not wait for it.
fn keep_a_log(connection: &Connection) -> Result<(), Fault> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    let reason = "its file system cannot keep a write-ahead log (shared memory); use a local one";
    Err(Fault::new(FaultKind::Unavailable, reason))
}

fn migrate(connection: &Connection, service: Service, place: &str, schema: &[Migration]) -> Result<(), OpenError> {
    while migrate_once(connection, service, place, schema)? {}
    match not_portable(connection).map_err(|fault| fault.on_open(service, place))? {
        Some(reason) => Err(OpenError::NotPortable { service, reason }),
        None => Ok(()),
    }
}

/// Applies the next migration, if there is one. What is next is read under the lock that it is applied under, since
/// another process may open the same file.
fn migrate_once(
    connection: &Connection,
    service: Service,
    place: &str,
    schema: &[Migration],
) -> Result<bool, OpenError> {
    let refuse = |fault: Fault| fault.on_open(service, place);
    let transaction =
        Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(|error| refuse(error.into()))?;
    let applied = applied(&transaction).map_err(refuse)?;
    let Some(migration) = pending(service, schema, |migration| migration.sqlite, &applied)?.first() else {
        return Ok(false);
    };
    match apply(transaction, migration) {
        Ok(()) => Ok(true),
        Err(fault) if matches!(fault.kind, FaultKind::Full | FaultKind::Corrupt) => Err(refuse(fault)),
        Err(fault) => {
            Err(OpenError::Migration { service, version: migration.version, name: migration.name, source: fault.cause })
        }
    }
}

fn applied(connection: &Connection) -> Result<Vec<Applied>, Fault> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
             version INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, applied_at INTEGER NOT NULL
         ) STRICT",
    )?;
    let mut statement = connection.prepare("SELECT version, digest FROM migrations ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok(Applied { version: row.get(0)?, digest: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn apply(transaction: Transaction<'_>, migration: &Migration) -> Result<(), Fault> {
    transaction.execute_batch(migration.sqlite)?;
    transaction.execute(
        "INSERT INTO migrations (version, name, digest, applied_at) VALUES (?, ?, ?, ?)",
        (migration.version, migration.name, digest(migration.sqlite), Timestamp::now().as_micros()),
    )?;
    transaction.commit()?;
    Ok(())
}

/// The first table or column that PostgreSQL would treat differently.
fn not_portable(connection: &Connection) -> Result<Option<String>, Fault> {
    let mut statement = connection.prepare(
        "SELECT 'table ' || name || ' is not STRICT' FROM pragma_table_list
         WHERE schema = 'main' AND type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'
         UNION ALL
         SELECT 'column ' || t.name || '.' || c.name || ' is not INTEGER, TEXT or BLOB'
         FROM pragma_table_list AS t, pragma_table_info(t.name) AS c
         WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
           AND upper(c.type) NOT IN ('INTEGER', 'TEXT', 'BLOB')",
    )?;
    Ok(statement.query_map([], |row| row.get(0))?.next().transpose()?)
}
