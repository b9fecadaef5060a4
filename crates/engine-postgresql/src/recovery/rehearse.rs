//! Restores into a scratch cluster, and looks whether everything is well.

use std::time::{Duration, Instant};

use mainstay_engine::recovery::{Archive, Assertion, Backup, Check, Rehearsal, Until};
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, ValueRef};

use super::reach::Goal;
use super::scratch::{Purpose, Scratch};
use super::{base, heartbeat, replace, replay, restorer};
use crate::PostgresqlEngine;
use crate::admin::failed;
use crate::names::{ADMIN_DATABASE, ADMIN_ROLE, RESTORER_ROLE, database, owner};

/// The longest that one assertion runs.
const ASSERTION_TIMEOUT: &str = "60s";
/// The same, where the server does not end it.
const ASSERTION_PATIENCE: Duration = Duration::from_secs(70);
/// The most that an assertion's answer is read of, and told.
const LONGEST_ANSWER: usize = 4 << 10;

pub(super) async fn rehearse(
    engine: &PostgresqlEngine,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
) -> Result<Rehearsal, EngineError> {
    let begin = Instant::now();
    let replay = replay(backup, Goal::Until(Until::Latest), archive).await?;
    let scratch = Scratch::restore(engine, spec, backup, &replay, Purpose::Look, archive).await?;
    let looked = look(&scratch, instance, backup, assertions, archive, begin).await;
    scratch.remove().await?;
    looked
}

async fn look(
    scratch: &Scratch<'_>,
    instance: &InstanceSpec,
    backup: &Backup,
    assertions: &[Assertion],
    archive: &Archive,
    begin: Instant,
) -> Result<Rehearsal, EngineError> {
    let name = database(&instance.id);
    let mut checks = vec![passed("pg_verifybackup", format!("{} files", scratch.files))];
    let opened = open(scratch, &name).await;
    let recovery_time = begin.elapsed();
    let replayed = replace::newest(scratch).await?;
    let (heartbeat, beaten) = check_heartbeat(scratch, backup).await?;
    let newest = replayed.max(beaten).unwrap_or(backup.ended_at);
    let is_there = opened.is_ok();
    checks.push(judged("database", opened));
    checks.push(heartbeat);
    if is_there {
        archive.progress.stage("checking tables and indexes");
        checks.push(judged("pg_amcheck", check_relations(scratch, &name).await));
        archive.progress.stage("checking what its owner asserts");
        restorer::make(&scratch.cluster.admin, &owner(&instance.id)).await?;
        for assertion in assertions {
            let name = format!("assertion {}", assertion.query);
            checks.push(judged(&name, check_assertion(scratch, instance, assertion).await));
        }
    }
    archive.progress.stage("checking the checksums of all pages");
    scratch.stop().await?;
    checks.push(judged("pg_checksums", check_pages(scratch).await));
    Ok(Rehearsal { recovery_time, newest, checks })
}

/// Whether the instance's database is there, and what is in it.
async fn open(scratch: &Scratch<'_>, name: &str) -> Result<String, String> {
    let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    scratch.cluster.admin.run(open).await.map_err(|error| error.to_string())?;
    let mut connection = scratch.cluster.admin.connect(name).await.map_err(|error| error.to_string())?;
    let (relations, bytes): (i64, i64) = sqlx::query_as(
        "SELECT count(*), pg_database_size(current_database()) FROM pg_class JOIN pg_namespace ON \
         pg_namespace.oid = relnamespace WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^(pg_|information_schema)'",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(|error| error.to_string())?;
    let _ = connection.close().await;
    Ok(format!("{relations} tables, {bytes} bytes"))
}

/// The newest heartbeat is not older than the backup, and not from the future.
async fn check_heartbeat(scratch: &Scratch<'_>, backup: &Backup) -> Result<(Check, Option<Timestamp>), EngineError> {
    let attempt = || failed("the heartbeat could not be read");
    let mut connection = scratch.cluster.admin.connect(ADMIN_DATABASE).await.map_err(attempt())?;
    let found = heartbeat::find(&mut connection).await;
    let least = base::heartbeat(backup)?;
    let outcome = match &found {
        Err(error) => Err(format!("there is none: {error}")),
        Ok(None) => Err("there is none".to_owned()),
        Ok(Some(found)) if found.number < least => {
            Err(format!("it is number {}, and the backup began after number {least}", found.number))
        }
        Ok(Some(found)) if found.at > Timestamp::now() => Err(format!("it is from {}, which is to come", found.at)),
        Ok(Some(found)) => Ok(format!("number {} from {}", found.number, found.at)),
    };
    let at = found.ok().flatten().map(|found| found.at).filter(|at| *at <= Timestamp::now());
    Ok((judged("heartbeat", outcome), at))
}

/// Every table and index of the instance, and whether each row that should be in an index is.
async fn check_relations(scratch: &Scratch<'_>, name: &str) -> Result<String, String> {
    let socket = scratch.socket();
    let port = scratch.port().to_string();
    // An extension of that name that a tenant made is no tool of ours.
    let install = "DROP EXTENSION IF EXISTS amcheck CASCADE; CREATE EXTENSION amcheck SCHEMA pg_catalog";
    let mut connection = scratch.cluster.admin.connect(name).await.map_err(|error| error.to_string())?;
    crate::admin::run_on(&mut connection, install.to_owned()).await.map_err(|error| error.to_string())?;
    let relations: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'm', 't', 'i')")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
    let _ = connection.close().await;
    let host = socket.to_string_lossy();
    let arguments = [
        "--heapallindexed",
        "--no-password",
        "--username",
        ADMIN_ROLE,
        "--host",
        &host,
        "--port",
        &port,
        "--database",
        name,
    ];
    let said = scratch.run("pg_amcheck", &arguments).await.map_err(|error| error.to_string())?;
    // It passes over a database in which it can not look, and says so only.
    match relations {
        0 => Err("there was nothing to check".to_owned()),
        _ if said.contains("skipping") || said.contains("no relations to check") => Err(said.trim().to_owned()),
        _ => Ok(format!("{relations} relations, each index against its table")),
    }
}

/// Every page of the whole cluster.
async fn check_pages(scratch: &Scratch<'_>) -> Result<String, String> {
    let data = scratch.cluster.directory.data();
    let said = scratch.run("pg_checksums", &["--check", "--pgdata", &data.to_string_lossy()]).await;
    let said = said.map_err(|error| error.to_string())?;
    let blocks = said.lines().find_map(|line| line.strip_prefix("Blocks scanned:")).map(str::trim);
    match blocks {
        Some(blocks) if blocks != "0" => Ok(format!("{blocks} pages")),
        _ => Err(format!("there was nothing to check: {}", said.trim())),
    }
}

/// A question of the owner's, asked as the owner, who can change nothing and reach nothing else.
async fn check_assertion(
    scratch: &Scratch<'_>,
    instance: &InstanceSpec,
    assertion: &Assertion,
) -> Result<String, String> {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(scratch.socket())
        .port(scratch.port())
        .username(RESTORER_ROLE)
        .database(&database(&instance.id))
        .ssl_mode(PgSslMode::Disable)
        .application_name("mainstay")
        .options([
            ("role", owner(&instance.id).as_str()),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", ASSERTION_TIMEOUT),
        ])
        .disable_statement_logging();
    let ask = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::raw_sql(AssertSqlSafe(assertion.query.as_str())).fetch_all(&mut connection).await
    };
    let rows = match tokio::time::timeout(ASSERTION_PATIENCE, ask).await {
        Ok(rows) => rows.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("it was not answered within {ASSERTION_PATIENCE:?}")),
    };
    let seen = printed(&rows).map_err(|error| error.to_string())?;
    if seen.trim() == assertion.expect.trim() {
        Ok(seen)
    } else {
        Err(format!("it is {seen:?} and not {:?}", assertion.expect))
    }
}

/// Rows as `psql -At` prints them: the fields of a row between bars, and nothing where a value is null.
fn printed(rows: &[PgRow]) -> Result<String, sqlx::Error> {
    let mut text = String::new();
    for row in rows {
        for column in 0..row.len() {
            let value = row.try_get_raw(column)?;
            let field = if value.is_null() { "" } else { value.as_str().map_err(sqlx::Error::Decode)? };
            text.push_str(if column == 0 { "" } else { "|" });
            text.extend(field.chars().take(LONGEST_ANSWER));
        }
        text.push('\n');
        if text.len() > LONGEST_ANSWER {
            break;
        }
    }
    Ok(text.trim().chars().take(LONGEST_ANSWER).collect())
}

fn passed(name: &str, seen: String) -> Check {
    Check { name: name.to_owned(), failure: None, seen }
}

fn judged(name: &str, outcome: Result<String, String>) -> Check {
    match outcome {
        Ok(seen) => passed(name, seen),
        Err(failure) => Check { name: name.to_owned(), failure: Some(failure), seen: String::new() },
    }
}
