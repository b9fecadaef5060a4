//! The claim to a schema: an advisory lock, which the server gives back when the connection that took it is gone.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::{Instant, sleep, timeout};

use super::{CONNECT_DEADLINE, open, silent};
use crate::claim::{Claim, ClaimError};
use crate::driver::Service;
use crate::error::{Fault, FaultKind};

/// The first number of a claim's lock, apart from everybody else's in the same database: the letters of "main". The
/// second one stands for the schema.
const LOCK_CLASS: i32 = 0x6d61_696e;

/// How long somebody else's claim is waited for. The server needs a moment to notice that a killed process is gone,
/// and whoever restarts one must not have to try twice.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries to take the lock.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Between two looks whether the connection that holds the claim is well, and between two tries to claim again once
/// it is not. A server that restarts is away for seconds.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How the server finds out that the claim's machine is cut off, after some 20 seconds: seconds of silence before it
/// asks, seconds between its questions, and how many may go without an answer. Its own default is two hours.
const KEEPALIVES: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "3"), ("tcp_keepalives_count", "3")];

/// The longest name that a session can have (NAMEDATALEN - 1); the server cuts off the rest.
const LONGEST_NAME: usize = 63;

/// What asking for the lock came to.
enum Answer {
    Taken,
    /// Somebody has it. None where they gave it back before they could be looked at.
    Held(Option<Holder>),
}

/// The session that has the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    name: String,
    session: i32,
}

/// Who claims what.
struct Claimant {
    service: Service,
    name: String,
    options: PgConnectOptions,
}

/// Claims a service's schema, and keeps the claim up until it is dropped.
pub(crate) async fn claim(service: Service, options: &PgConnectOptions, holder: &str) -> Result<Claim, ClaimError> {
    let name = session_name(holder);
    let options = options.clone().application_name(&name);
    let claimant = Claimant { service, name, options };
    let unavailable = |fault: Fault| ClaimError::Unavailable { service, source: fault.cause };
    let mut connection = claimant.connect().await.map_err(unavailable)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match claimant.ask(&mut connection).await.map_err(unavailable)? {
            Answer::Taken => return Ok(Claim::kept_by(tokio::spawn(claimant.keep(connection)))),
            Answer::Held(_) if Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            Answer::Held(Some(Holder { name, session })) => {
                return Err(ClaimError::Held { service, holder: name, session });
            }
            Answer::Held(None) => {
                let reason = "the claim was given up and taken again each time it was looked at";
                return Err(unavailable(Fault::new(FaultKind::Unavailable, reason)));
            }
        }
    }
}

/// The name as the server will show it.
fn session_name(holder: &str) -> String {
    holder.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(LONGEST_NAME).collect()
}

// === impl Claimant ===

impl Claimant {
    /// A connection that may be idle for as long as it likes.
    async fn connect(&self) -> Result<PgConnection, Fault> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            open::set(&mut connection, "idle_session_timeout", "0").await?;
            for (name, value) in KEEPALIVES {
                open::set(&mut connection, name, value).await?;
            }
            Ok(connection)
        };
        timeout(CONNECT_DEADLINE, connecting).await.unwrap_or_else(|_| Err(silent(CONNECT_DEADLINE)))
    }

    async fn ask(&self, connection: &mut PgConnection) -> Result<Answer, Fault> {
        let asking = async {
            let schema = open::schema_name(self.service);
            let taken = sqlx::query("SELECT pg_try_advisory_lock($1, hashtext($2))").bind(LOCK_CLASS).bind(schema);
            if taken.fetch_one(&mut *connection).await?.try_get(0)? {
                return Ok(Answer::Taken);
            }
            // An advisory lock with two numbers has the subid 2 (PostgreSQL documentation, pg_locks).
            let holder = sqlx::query(
                "SELECT coalesce(nullif(activity.application_name, ''), 'somebody'), locks.pid
                 FROM pg_locks AS locks LEFT JOIN pg_stat_activity AS activity USING (pid)
                 WHERE locks.locktype = 'advisory' AND locks.objsubid = 2 AND locks.granted
                   AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND locks.classid = $1::integer::oid AND locks.objid = hashtext($2)::oid",
            );
            let holder = holder.bind(LOCK_CLASS).bind(schema).fetch_optional(connection).await?;
            let holder = holder.map(|row| Ok::<_, Fault>(Holder { name: row.try_get(0)?, session: row.try_get(1)? }));
            Ok(Answer::Held(holder.transpose()?))
        };
        timeout(CONNECT_DEADLINE, asking).await.unwrap_or_else(|_| Err(silent(CONNECT_DEADLINE)))
    }

    /// Runs until it is aborted, which drops the connection and with it the lock.
    async fn keep(self, mut connection: PgConnection) {
        loop {
            let lost = watch(&mut connection).await;
            tracing::warn!(service = %self.service, error = %lost.cause, "the claim to the storage is lost; claiming again");
            connection = self.claim_again().await;
            tracing::info!(service = %self.service, "the storage is claimed again");
        }
    }

    /// Tries for as long as it takes. What is written meanwhile is safe: each append says which head it follows.
    async fn claim_again(&self) -> PgConnection {
        let mut told = None;
        loop {
            match self.try_again().await {
                Ok((connection, Answer::Taken)) => return connection,
                // A session with this very name is the one that was lost, which the server has not noticed yet.
                Ok((_, Answer::Held(Some(holder)))) if holder.name != self.name && told.as_ref() != Some(&holder) => {
                    let Holder { name, session } = holder.clone();
                    let error = ClaimError::Held { service: self.service, holder: name, session };
                    tracing::error!(%error, "another control plane has claimed the storage meanwhile");
                    told = Some(holder);
                }
                Ok(_) => {}
                Err(fault) => tracing::debug!(error = %fault.cause, "the storage can not be claimed yet"),
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    async fn try_again(&self) -> Result<(PgConnection, Answer), Fault> {
        let mut connection = self.connect().await?;
        let answer = self.ask(&mut connection).await?;
        Ok((connection, answer))
    }
}

/// Returns once the connection is lost, and says why.
async fn watch(connection: &mut PgConnection) -> Fault {
    loop {
        sleep(LOOK_PAUSE).await;
        match timeout(CONNECT_DEADLINE, connection.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return silent(CONNECT_DEADLINE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::session_name;

    #[test]
    fn a_name_is_what_the_server_will_show() {
        assert_eq!(session_name("mainstay db-1 pid 7"), "mainstay db-1 pid 7");
        assert_eq!(session_name("mainstay büro pid 7"), "mainstay b?ro pid 7");
        assert_eq!(session_name(&"x".repeat(100)).len(), 63);
    }
}
