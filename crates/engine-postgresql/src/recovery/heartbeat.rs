//! A row that is written while the log is followed, so that what comes back tells how new it is.
//!
//! It costs a busy cluster one row of 40 bytes a second, about 250 bytes of log that no session waits for, and an idle one
//! the same every ten seconds. Without it nobody could tell an idle cluster from one whose last hour is missing.

use std::time::{Duration, Instant};

use mainstay_engine::EngineError;
use mainstay_types::Timestamp;
use sqlx::postgres::PgConnection;

use super::wal::Lsn;
use crate::admin::failed;
use crate::cluster::Cluster;

/// How far apart heartbeats are at least, and of a cluster that is written to also at most.
const PERIOD: Duration = Duration::from_secs(1);
/// How far apart they are when nobody writes.
const IDLE_PERIOD: Duration = Duration::from_secs(10);

/// When the next heartbeat is due.
#[derive(Debug)]
pub(super) struct Heart {
    last: Option<Instant>,
    /// Where the log ended after the last one. What comes later is somebody's.
    position: Lsn,
}

/// A heartbeat as it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub number: i64,
    pub at: Timestamp,
}

impl Heart {
    /// Makes room for heartbeats, where there is none yet.
    pub async fn new(cluster: &Cluster) -> Result<Self, EngineError> {
        prepare(cluster).await?;
        Ok(Self { last: None, position: Lsn::default() })
    }

    /// Beats where it is time for it, with the log ending here now.
    pub async fn beat(&mut self, cluster: &Cluster, position: Lsn) -> Result<(), sqlx::Error> {
        let elapsed = self.last.map(|last| last.elapsed());
        let due =
            elapsed.is_none_or(|elapsed| elapsed >= IDLE_PERIOD || (elapsed >= PERIOD && position != self.position));
        if !due {
            return Ok(());
        }
        // Nobody waits for the disk because of it: the log is written soon anyway.
        cluster
            .admin
            .run(
                "SET LOCAL synchronous_commit = off; \
                 UPDATE mainstay.heartbeat SET number = number + 1, at = clock_timestamp()"
                    .to_owned(),
            )
            .await?;
        let position: String =
            sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text").fetch_one(cluster.admin.pool()).await?;
        self.position = position.parse().unwrap_or_default();
        self.last = Some(Instant::now());
        Ok(())
    }
}

/// The number of the newest heartbeat of a serving cluster, which is 0 where there was none yet.
pub(super) async fn number(cluster: &Cluster) -> Result<i64, EngineError> {
    prepare(cluster).await?;
    sqlx::query_scalar("SELECT number FROM mainstay.heartbeat")
        .fetch_one(cluster.admin.pool())
        .await
        .map_err(failed("the heartbeat could not be read"))
}

/// The newest heartbeat that is in what was restored; none where there is none.
pub(super) async fn find(connection: &mut PgConnection) -> Result<Option<Heartbeat>, sqlx::Error> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT number, (extract(epoch FROM at) * 1000000)::int8 FROM mainstay.heartbeat")
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(number, micros)| Heartbeat { number, at: Timestamp::from_micros(micros) }))
}

async fn prepare(cluster: &Cluster) -> Result<(), EngineError> {
    let attempt = || failed("the table of heartbeats could not be made");
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('mainstay.heartbeat') IS NOT NULL")
        .fetch_one(cluster.admin.pool())
        .await
        .map_err(attempt())?;
    if exists {
        return Ok(());
    }
    // A backup and whoever follows the log may both be the first.
    let make = "SELECT pg_advisory_xact_lock(7235419008112); \
                CREATE SCHEMA IF NOT EXISTS mainstay; \
                CREATE TABLE IF NOT EXISTS mainstay.heartbeat \
                    (one bool PRIMARY KEY DEFAULT true CHECK (one), number int8 NOT NULL, at timestamptz NOT NULL) \
                    WITH (fillfactor = 10); \
                INSERT INTO mainstay.heartbeat (number, at) VALUES (0, clock_timestamp()) ON CONFLICT DO NOTHING";
    cluster.admin.run(make.to_owned()).await.map_err(attempt())
}
